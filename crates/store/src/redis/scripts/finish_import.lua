call('HDEL', META, 'copying')
return { 'ok' }
