-- Answers when the server does and migrations have run.
SELECT FROM hold_sweep;
