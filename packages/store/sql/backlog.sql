-- Jobs that were accepted and have not ended, by model and class; nothing of models and classes that have none.
SELECT model, class, jobs, input_tokens FROM v_backlog ORDER BY model COLLATE "C", class;
