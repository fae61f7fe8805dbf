-- Matches of national teams, which are known by their names alone: no table has an id.
-- key: results(date, home_team) or results(date, home_team, away_team)
-- key: shootouts(date, home_team) or shootouts(date, home_team, away_team)
-- link: shootouts(date, home_team, away_team) -> results(date, home_team, away_team) or shootouts(date, home_team) -> results(date, home_team)
-- link: goalscorers(date, home_team, away_team) -> results(date, home_team, away_team) or goalscorers(date, home_team) -> results(date, home_team)
-- link: results(home_team) -> teams(name)
-- link: results(away_team) -> teams(name)
-- link: goalscorers(home_team) -> teams(name)
-- link: goalscorers(away_team) -> teams(name)
-- link: goalscorers(team) -> teams(name)
-- link: shootouts(home_team) -> teams(name)
-- link: shootouts(away_team) -> teams(name)
-- also: shootouts(winner) -> teams(name)
-- key: teams(name)
-- time: results(date)
-- time: shootouts(date)
-- time: goalscorers(date)
CREATE TABLE teams AS SELECT 'Team of the Land ' || i AS name, ['Europe', 'Africa', 'Asia'][1 + pick(i, 3)] AS confederation FROM range(80) r(i);
CREATE TABLE results AS SELECT DISTINCT ON (date, home_team) * FROM (SELECT DATE '1980-01-01' + (i // 6)::INTEGER AS date, 'Team of the Land ' || pick(i, 80) AS home_team,
    'Team of the Land ' || ((pick(i, 80) + 1 + pick(i || 'a', 79)) % 80) AS away_team, pick(i || 'h', 6) AS home_score, pick(i || 's', 5) AS away_score,
    ['Friendly', 'Cup', 'Qualification'][1 + pick(i || 't', 3)] AS tournament, 'City ' || pick(i, 200) AS city, pick(i || 'n', 2) = 0 AS neutral FROM range(3600) r(i));
CREATE TABLE goalscorers AS SELECT r.date, r.home_team, r.away_team, CASE WHEN pick(r.date || g, 2) = 0 THEN r.home_team ELSE r.away_team END AS team,
    'Player ' || pick(r.date || 'p' || g, 900) AS scorer, 1 + pick(r.date || 'm' || g, 90) AS minute, pick(r.date || g, 9) = 0 AS penalty FROM results r, range(2) q(g);
CREATE TABLE shootouts AS SELECT date, home_team, away_team, CASE WHEN pick(date, 2) = 0 THEN home_team ELSE away_team END AS winner FROM results WHERE pick(date || 'o', 8) = 0;
