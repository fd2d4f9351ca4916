-- Returns one row: corrected int, how many models and classes had another backlog than their open jobs sum up to.
SELECT correct_backlog() AS corrected;
