-- Baseball: players have text keys, a team is one of a year, and most columns are statistics.
-- key: People(playerID)
-- key: Teams(yearID, teamID) or Teams(yearID, lgID, teamID)
-- key: TeamsFranchises(franchID)
-- key: Batting(playerID, yearID, stint)
-- key: Salaries(yearID, teamID, playerID) or Salaries(playerID, yearID, teamID)
-- key: AllstarFull(playerID, yearID, gameNum) or AllstarFull(playerID, yearID)
-- link: Batting(playerID) -> People(playerID)
-- link: Salaries(playerID) -> People(playerID)
-- link: AllstarFull(playerID) -> People(playerID)
-- link: Teams(franchID) -> TeamsFranchises(franchID)
-- link: Batting(yearID, teamID) -> Teams(yearID, teamID) or Batting(yearID, lgID, teamID) -> Teams(yearID, lgID, teamID)
-- link: Salaries(yearID, teamID) -> Teams(yearID, teamID) or Salaries(yearID, lgID, teamID) -> Teams(yearID, lgID, teamID)
-- link: AllstarFull(yearID, teamID) -> Teams(yearID, teamID) or AllstarFull(yearID, lgID, teamID) -> Teams(yearID, lgID, teamID)
-- time: AllstarFull(make_timestamp(try_cast("yearID" AS BIGINT) + 1, 1, 1, 0, 0, 0.0))
-- time: Batting(make_timestamp(try_cast("yearID" AS BIGINT) + 1, 1, 1, 0, 0, 0.0))
-- time: Salaries(make_timestamp(try_cast("yearID" AS BIGINT) + 1, 1, 1, 0, 0, 0.0))
-- time: Teams(make_timestamp(try_cast("yearID" AS BIGINT) + 1, 1, 1, 0, 0, 0.0))
CREATE TABLE People AS SELECT substr(md5(i::VARCHAR), 1, 5) || letter(97 + pick(i, 26)) || 'a01' AS playerID, 1940 + pick(i, 50) AS birthYear, 1 + pick(i || 'm', 12) AS birthMonth,
    'First' || pick(i, 300) AS nameFirst, 150 + pick(i || 'w', 100) AS weight, 65 + pick(i || 'h', 15) AS height, DATE '1965-01-01' + pick(i || 'd', 9000) AS debut FROM range(1500) r(i);
CREATE TABLE TeamsFranchises AS SELECT upper(substr(md5('f' || i), 1, 3)) || i AS franchID, 'Franchise No ' || i AS franchName, ['Y', 'N'][1 + pick(i, 2)] AS active FROM range(30) r(i);
CREATE TABLE Teams AS SELECT 1990 + y AS yearID, ['AL', 'NL'][1 + t % 2] AS lgID, 'T' || letter(65 + t) || 'X' AS teamID, upper(substr(md5('f' || t), 1, 3)) || t AS franchID,
    1 + pick(y || t, 5) AS "Rank", 162 AS G, 50 + pick(y || 'w' || t, 60) AS W, 50 + pick(y || 'l' || t, 60) AS L, 500 + pick(y || 'r' || t, 400) AS R FROM range(20) a(y), range(26) b(t);
CREATE TABLE Batting AS SELECT DISTINCT ON (playerID, yearID, stint) * FROM (SELECT p.playerID, (1990 + pick(i || 'y', 20))::BIGINT AS yearID, 1 + (pick(i || 's', 12) = 0)::INTEGER AS stint,
    'T' || letter(65 + pick(i || 't', 26)) || 'X' AS teamID, ['AL', 'NL'][1 + pick(i || 't', 26) % 2] AS lgID, 1 + pick(i || 'g', 160) AS G, pick(i || 'ab', 600) AS AB, pick(i || 'r', 110) AS R,
    pick(i || 'h', 200) AS H, pick(i || 'hr', 45) AS HR FROM range(9000) r(i) JOIN (SELECT row_number() OVER (ORDER BY playerID) AS n, playerID FROM People) p ON p.n = 1 + pick(i, 1500));
CREATE TABLE Salaries AS SELECT DISTINCT ON (yearID, teamID, playerID) * FROM (SELECT yearID, teamID, lgID, playerID, 100000 + pick(playerID || yearID, 900) * 1000 AS salary FROM Batting WHERE pick(playerID || yearID, 2) = 0);
CREATE TABLE AllstarFull AS SELECT DISTINCT ON (playerID, yearID) playerID, yearID, 0 AS gameNum, 'ALS' || yearID || '07120' AS gameID, teamID, lgID, 1 AS GP FROM Batting WHERE HR > 41;
