"""`invoke release` and `invoke rollback`: their stages in order, the lock and the signals around them."""
