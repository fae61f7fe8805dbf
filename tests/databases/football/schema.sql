-- International football: one wide table of games. A team is only a name in it, goals have no id of their game, and the
-- last games of the list are yet to be played.
--
-- key: results(date, home_team, away_team) or results(date, home_team)
-- link: goalscorers(date, home_team, away_team) -> results(date, home_team, away_team) or goalscorers(date, home_team) -> results(date, home_team)
-- link: shootouts(date, home_team, away_team) -> results(date, home_team, away_team) or shootouts(date, home_team) -> results(date, home_team)
-- time: results(date)
-- time: goalscorers(date)
-- time: shootouts(date)
-- also: former_names(start_date)

CREATE TEMP TABLE invented AS SELECT i, word(i, 'team') || CASE WHEN i % 4 = 0 THEN ' Republic' ELSE 'land' END
    AS team FROM range(30) r(i);
CREATE TABLE results AS
SELECT DATE '2018-01-04' + (7 * week)::INTEGER AS date, h.team AS home_team, a.team AS away_team,
    CASE WHEN week < 204 THEN below(3 + h.i % 3, h.i, 'goals', week) END AS home_score,
    CASE WHEN week < 204 THEN below(3 + a.i % 3, a.i, 'goals', week) END AS away_score,
    ['Friendly', 'FIFA World Cup qualification', 'UEFA Euro'][1 + below(3, week, 'cup')] AS tournament,
    word(h.i, 'city') AS city, h.team AS country,
    draw(week, 'neutral', h.i) < 0.2 AS neutral
FROM invented h JOIN range(0, 206) w(week) ON draw(h.i, 'home', week) < 0.18
JOIN invented a ON a.i = (h.i + 1 + below(29, h.i, 'against', week)) % 30;
CREATE TABLE goalscorers AS
SELECT date, home_team, away_team, CASE WHEN n < home_score THEN home_team ELSE away_team END AS team,
    name(below(11, home_team, 'scorer', date, n), CASE WHEN n < home_score THEN home_team ELSE away_team END) AS scorer,
    1.0 + below(90, home_team, 'minute', date, n) AS minute, draw(date, 'own', home_team, n) < 0.03 AS own_goal,
    draw(date, 'penalty', home_team, n) < 0.08 AS penalty
FROM results, range(10) g(n) WHERE n < home_score + away_score;
CREATE TABLE shootouts AS
SELECT date, home_team, away_team, CASE WHEN draw(date, 'wins', home_team) < 0.5 THEN home_team ELSE away_team END
    AS winner,
    NULL::VARCHAR AS first_shooter
FROM results WHERE home_score = away_score AND draw(date, 'shootout', home_team) < 0.25;
CREATE TABLE former_names AS
SELECT team AS current, 'Old ' || team AS former, DATE '1950-01-01' + (i * 100)::INTEGER AS start_date,
    DATE '1990-01-01' AS end_date
FROM invented WHERE i % 6 = 0;
DROP TABLE invented;
