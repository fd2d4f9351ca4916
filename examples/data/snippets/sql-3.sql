WITH ranked AS (
    SELECT id, author_id, title,
           ROW_NUMBER() OVER (PARTITION BY author_id ORDER BY published_at DESC) AS place
    FROM articles
)
SELECT id, author_id, title
FROM ranked
WHERE place <= 3
ORDER BY author_id, place;

UPDATE articles SET archived = 1 WHERE published_at < '2020-01-01';
