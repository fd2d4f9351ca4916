CREATE TABLE readings (
    sensor_id integer NOT NULL,
    taken_at timestamp NOT NULL,
    celsius numeric(5, 2) NOT NULL,
    PRIMARY KEY (sensor_id, taken_at)
);

CREATE INDEX readings_taken_at ON readings (taken_at);

INSERT INTO readings (sensor_id, taken_at, celsius)
VALUES (1, '2026-01-01 00:00:00', 4.25), (2, '2026-01-01 00:00:00', 3.75);
