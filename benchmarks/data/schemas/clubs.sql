-- A league whose clubs are texts with spaces, and columns of text that are not links: cities, days, results.
-- key: clubs(club)
-- key: seasons(season)
-- key: games(game_no)
-- key: stadiums(stadium_name)
-- link: games(home_club) -> clubs(club)
-- link: games(away_club) -> clubs(club)
-- link: games(season) -> seasons(season)
-- link: clubs(stadium_name) -> stadiums(stadium_name)
-- time: games(played_on)
CREATE TABLE stadiums AS SELECT 'stadium of town ' || i AS stadium_name, 5000 + 7 * pick(i, 9000) AS capacity FROM range(1, 25) r(i);
CREATE TABLE clubs AS SELECT 'club of town ' || i AS club, 'stadium of town ' || (1 + i % 24) AS stadium_name, 1880 + pick(i, 100) AS founded, 10 + pick(i || 'm', 30) AS members
    FROM range(1, 25) r(i);
CREATE TABLE seasons AS SELECT (2000 + i) || '/' || lpad(((1 + i) % 100)::VARCHAR, 2, '0') AS season, ['a', 'b', 'c'][1 + pick(i, 3)] AS mode FROM range(15) r(i);
CREATE TABLE games AS SELECT i AS game_no, (2000 + i // 200) || '/' || lpad(((1 + i // 200) % 100)::VARCHAR, 2, '0') AS season, 'club of town ' || (1 + pick(i, 24)) AS home_club,
    'club of town ' || (1 + (pick(i, 24) + 1 + pick(i || 'a', 23)) % 24) AS away_club, DATE '2000-08-01' + (i * 1.7)::INTEGER AS played_on, 1 + i % 34 AS matchday,
    pick(i || 'h', 6) AS home_goals, pick(i || 'g', 5) AS away_goals, ['win', 'draw', 'loss'][1 + pick(i || 'r', 3)] AS outcome FROM range(3000) r(i);
