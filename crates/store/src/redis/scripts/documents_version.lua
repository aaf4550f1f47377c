-- ARGV: kind.
return { 'ok', call('HGET', root .. 'document-versions', ARGV[1]) or '0' }
