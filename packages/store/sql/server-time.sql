-- The server's time, Unix ms; within a transaction the time at which it began.
SELECT extract(epoch FROM now()) * 1000 AS now_ms;
