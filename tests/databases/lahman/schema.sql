-- Lahman: a century of baseball in seasons. Players have text keys, a team is a teamID in a yearID, and no table has a
-- time but a year. What a player's row says of his last game was written after it.
--
-- key: people(playerID)
-- key: teamsfranchises(franchID)
-- key: teams(yearID, teamID)
-- key: batting(playerID, yearID, stint)
-- key: fielding(playerID, yearID, stint)
-- key: salaries(yearID, playerID)
-- link: batting(playerID) -> people(playerID)
-- link: fielding(playerID) -> people(playerID)
-- link: salaries(playerID) -> people(playerID)
-- link: awardsplayers(playerID) -> people(playerID)
-- link: teams(franchID) -> teamsfranchises(franchID)
-- link: batting(yearID, teamID) -> teams(yearID, teamID)
-- link: fielding(yearID, teamID) -> teams(yearID, teamID)
-- link: salaries(yearID, teamID) -> teams(yearID, teamID)
-- time: batting(make_timestamp(try_cast("yearID" AS BIGINT) + 1, 1, 1, 0, 0, 0.0))
-- time: fielding(make_timestamp(try_cast("yearID" AS BIGINT) + 1, 1, 1, 0, 0, 0.0))
-- time: salaries(make_timestamp(try_cast("yearID" AS BIGINT) + 1, 1, 1, 0, 0, 0.0))
-- time: awardsplayers(make_timestamp(try_cast("yearID" AS BIGINT) + 1, 1, 1, 0, 0, 0.0))
-- time: teams(make_timestamp(try_cast("yearID" AS BIGINT) + 1, 1, 1, 0, 0, 0.0))
-- time: people(try_cast("debut" AS TIMESTAMP))
-- also: fielding(playerID, yearID, stint) -> batting(playerID, yearID, stint)

CREATE TABLE people AS
SELECT left(lower(name(i, 'last')) || 'xxxxx', 5) || left(lower(name(i, 'first')), 2) || lpad(i::VARCHAR, 3, '0')
    AS "playerID",
    debut - 22 - i % 6 AS "birthYear", 1 + i % 12 AS "birthMonth", 1 + i % 28 AS "birthDay", 'USA' AS "birthCountry",
    'S' || i % 30 AS "birthState",
    word(i, 'town') AS "birthCity", CASE WHEN debut < 1985 AND i % 3 = 0 THEN debut + 35 END AS "deathYear",
    name(i, 'first') AS "nameFirst",
    name(i, 'last') AS "nameLast", name(i, 'first') || ' ' || name(i, 'middle') AS "nameGiven",
    160 + below(70, i, 'weight') AS weight,
    66 + below(12, i, 'height') AS height, ['R', 'L', 'B'][1 + below(3, i, 'bats')] AS bats,
    ['R', 'L'][1 + below(2, i, 'throws')] AS throws,
    strftime(make_date(debut, 4 + i % 5, 1 + i % 28), '%Y-%m-%d') AS debut,
    strftime(make_date(debut + years, 9, 1 + i % 28), '%Y-%m-%d') AS "finalGame", 'retro' || i AS "retroID",
    'bb' || i AS "bbrefID"
FROM (SELECT i::INTEGER AS i, 1980 + below(38, i, 'debut') AS debut,
    below(14, i, 'years') AS years FROM range(220) r(i));
CREATE TABLE teamsfranchises AS
SELECT 'F' || chr((65 + i)::INTEGER) || 'X' AS "franchID",
    word(i, 'city') || ' ' || word(i, 'team') || 's' AS "franchName", 'Y' AS active,
    NULL::VARCHAR AS "NAassoc"
FROM range(10) r(i);
CREATE TABLE teams AS
SELECT y::INTEGER AS "yearID", ['AL', 'NL'][1 + i % 2] AS "lgID",
    'T' || chr((65 + i)::INTEGER) || CASE WHEN y > 2000 AND i = 3 THEN 'Z' ELSE 'A' END AS "teamID",
    'F' || chr((65 + i)::INTEGER) || 'X' AS "franchID", ['E', 'W'][1 + i % 2] AS "divID",
    1 + below(5, i, 'rank', y) AS "Rank", 162 AS "G",
    60 + below(45, i, 'wins', y) AS "W", 102 - below(45, i, 'wins', y) AS "L", 600 + below(250, i, 'runs', y) AS "R",
    word(i, 'city') || ' ' || word(i, 'team') || 's' AS name, word(i, 'park') || ' Field' AS park,
    1000000 + below(2000000, i, 'seats', y) AS attendance
FROM range(10) r(i), range(1980, 2020) s(y);
CREATE TABLE batting AS
SELECT p."playerID", y::INTEGER AS "yearID", n::INTEGER AS stint, t."teamID", t."lgID",
    20 + below(140, p."playerID", 'games', y) AS "G",
    50 + below(550, p."playerID", 'bats', y) AS "AB", below(110, p."playerID", 'runs', y) AS "R",
    below(180, p."playerID", 'hits', y) AS "H",
    (30 * draw(p."playerID", 'power') * draw(p."playerID", 'luck', y))::INTEGER AS "HR",
    below(100, p."playerID", 'rbi', y) AS "RBI"
FROM people p, range(1980, 2020) s(y), range(1, 3) st(n), teams t
WHERE y BETWEEN year(p.debut::DATE) AND year(p."finalGame"::DATE) AND (n = 1 OR draw(p."playerID", 'traded', y) < 0.08)
    AND t."yearID" = y AND ascii(t."teamID"[2]) - 65 = below(10, p."playerID", 'team', (y // 4 + n))
    AND draw(p."playerID", 'hurt', y) < 0.9;
CREATE TABLE fielding AS
SELECT "playerID", "yearID", stint, "teamID", "lgID", ['1B', 'SS', 'OF'][1 + below(3, "playerID", 'pos')] AS "POS", "G",
    below(200, "playerID", 'outs', "yearID") AS "PO"
FROM batting WHERE draw("playerID", 'fields', "yearID") < 0.9;
CREATE TABLE salaries AS
SELECT "yearID", "teamID", "lgID", "playerID", 60000 + below(9000000, "playerID", 'salary', "yearID") AS salary
FROM batting WHERE stint = 1 AND "yearID" >= 1985;
CREATE TABLE awardsplayers AS
SELECT "playerID", ['Silver Slugger', 'Gold Glove',
    'Most Valuable Player'][1 + below(3, "playerID", 'award', "yearID")] AS "awardID", "yearID", "lgID",
    NULL::VARCHAR AS tie, NULL::VARCHAR AS notes
FROM batting WHERE stint = 1 AND "HR" > 15;
