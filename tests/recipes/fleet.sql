-- What the runs of a whole fleet have in common, from the NDJSON reports of all of them, with DuckDB in
-- the folder that they are in: duckdb < fleet.sql
CREATE OR REPLACE TEMP VIEW lines AS
SELECT *, filename AS report
FROM read_json('*.ndjson', format = 'newline_delimited', union_by_name = true, filename = true)
WHERE event_type = 'tcp_window_audit';

-- Which peers: whose connections are INVALID, in how many captures.
SELECT dest_ip AS peer, dest_port AS port, count(DISTINCT report) AS captures,
       count(*) AS connections, sum(invalid)::BIGINT AS invalid
FROM lines WHERE kind = 'flow' AND invalid > 0
GROUP BY ALL ORDER BY invalid DESC, peer, port LIMIT 20;

-- Which causes: in how many captures, how sure, how many connections.
SELECT cause, cause_name AS name, count(DISTINCT report) AS captures, max(score) AS score,
       sum(flows)::BIGINT AS connections
FROM lines WHERE kind = 'finding'
GROUP BY ALL ORDER BY captures DESC, cause;

-- Which trend: INVALID of a thousand packets, by the day of the capture.
SELECT substr(timestamp::VARCHAR, 1, 10) AS day, count(*) AS captures,
       sum(packets)::BIGINT AS packets, sum(invalid)::BIGINT AS invalid,
       round(1000 * sum(invalid) / nullif(sum(packets), 0), 3) AS permille
FROM lines WHERE kind = 'verdict'
GROUP BY ALL ORDER BY day;
