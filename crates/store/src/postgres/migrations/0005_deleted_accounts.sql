-- A deleted account keeps its row without what anybody chose: its subscriptions refer to it.
ALTER TABLE hookcast.accounts ADD COLUMN deleted_at bigint;
