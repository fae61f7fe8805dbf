-- Loaded tables with a prefix, and one name in three spellings; sessions are texts, counts look like row numbers.
-- key: raw_users(id)
-- key: raw_sessions(session_id)
-- key: raw_events(event_id)
-- key: raw_plans(id)
-- link: raw_sessions(USER_ID) -> raw_users(id)
-- link: raw_events(userid) -> raw_users(id)
-- link: raw_events(session_id) -> raw_sessions(session_id)
-- link: raw_users(plan_id) -> raw_plans(id)
-- link: raw_users(invited_by_user_id) -> raw_users(id)
-- time: raw_users(created_at)
-- time: raw_sessions(started_at)
-- time: raw_events(occurred_at)
CREATE TABLE raw_plans AS SELECT i AS id, ['free', 'team', 'big'][i] AS title, 10 * i AS price FROM range(1, 4) r(i);
CREATE TABLE raw_users AS SELECT i AS id, 'user' || i || '@example.org' AS email, 1 + pick(i, 3) AS plan_id,
    CASE WHEN i > 9 AND pick(i || 'v', 3) = 0 THEN 1 + pick(i, i - 1) END AS invited_by_user_id, pick(i || 'l', 40) AS logins,
    TIMESTAMP '2020-01-01' + INTERVAL (i) HOUR AS created_at FROM range(1, 801) r(i);
CREATE TABLE raw_sessions AS SELECT md5(i::VARCHAR) AS session_id, 1 + pick(i, 800) AS "USER_ID",
    TIMESTAMP '2020-03-01' + INTERVAL (i) HOUR AS started_at, pick(i || 'p', 30) AS pages FROM range(1, 2001) r(i);
CREATE TABLE raw_events AS SELECT i AS event_id, 1 + pick(pick(i, 2000) + 1, 800) AS userid, md5((pick(i, 2000) + 1)::VARCHAR) AS session_id,
    TIMESTAMP '2020-03-01' + INTERVAL (i // 3) HOUR AS occurred_at, pick(i, 5) AS rating, pick(i || 'd', 600) AS duration
    FROM range(1, 6001) r(i);
