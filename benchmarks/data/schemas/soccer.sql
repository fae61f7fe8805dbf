-- The European soccer database: ids of three services beside the row's own, and eleven columns of players per match.
-- key: Country(id)
-- key: League(id)
-- key: Team(team_api_id) or Team(id)
-- key: Player(player_api_id) or Player(id)
-- key: Match(id) or Match(match_api_id)
-- key: Player_Attributes(id)
-- link: League(country_id) -> Country(id)
-- link: Match(country_id) -> Country(id)
-- link: Match(league_id) -> League(id)
-- link: Match(home_team_api_id) -> Team(team_api_id)
-- link: Match(away_team_api_id) -> Team(team_api_id)
-- link: Match(home_player_1) -> Player(player_api_id)
-- link: Match(home_player_2) -> Player(player_api_id)
-- link: Match(away_player_1) -> Player(player_api_id)
-- link: Player_Attributes(player_api_id) -> Player(player_api_id)
-- time: Match(date)
-- time: Player_Attributes(date)
CREATE TABLE Country AS SELECT 1 + 2001 * i AS id, 'Land ' || i AS name FROM range(11) r(i);
CREATE TABLE League AS SELECT 1 + 2001 * i AS id, 1 + 2001 * i AS country_id, 'Land ' || i || ' League' AS name FROM range(11) r(i);
CREATE TABLE Team AS SELECT 1 + i AS id, 8000 + 23 * i AS team_api_id, 500 + 7 * i AS team_fifa_api_id, 'Club ' || i AS team_long_name FROM range(200) r(i);
CREATE TABLE Player AS SELECT 1 + i AS id, 30000 + 41 * i AS player_api_id, 180000 + 3 * i AS player_fifa_api_id, 'Name ' || i AS player_name, 160 + pick(i, 40) AS height FROM range(1500) r(i);
CREATE TABLE "Match" AS SELECT 1 + i AS id, 1 + 2001 * pick(i, 11) AS country_id, 1 + 2001 * pick(i, 11) AS league_id, '2010/2011' AS season, 1 + i % 34 AS stage, TIMESTAMP '2010-08-01' + INTERVAL (i // 3) DAY AS date, 490000 + 3 * i AS match_api_id,
    8000 + 23 * pick(i || 'h', 200) AS home_team_api_id, 8000 + 23 * pick(i || 'a', 200) AS away_team_api_id, pick(i || 'g', 6) AS home_team_goal, 30000 + 41 * pick(i || 'p', 1500) AS home_player_1,
    CASE WHEN i % 9 > 0 THEN 30000 + 41 * pick(i || 'q', 1500) END AS home_player_2, 30000 + 41 * pick(i || 'r', 1500) AS away_player_1, 1 + pick(i || 'x', 9) AS home_player_X1 FROM range(3000) r(i);
CREATE TABLE Player_Attributes AS SELECT 1 + i AS id, 30000 + 41 * pick(i, 1500) AS player_api_id, TIMESTAMP '2009-01-01' + INTERVAL (i // 3) DAY AS date, 40 + pick(i || 'o', 50) AS overall_rating FROM range(6000) r(i);
