-- Titles and names under keys that no word marks; ratings are one to one with titles.
-- key: title_basics(tconst)
-- key: name_basics(nconst)
-- key: title_ratings(tconst)
-- key: title_principals(tconst, ordering)
-- link: title_ratings(tconst) -> title_basics(tconst)
-- link: title_principals(tconst) -> title_basics(tconst)
-- link: title_principals(nconst) -> name_basics(nconst)
-- time: title_basics(make_timestamp(try_cast("startYear" AS BIGINT) + 1, 1, 1, 0, 0, 0.0))
-- time: title_principals(title_basics)
CREATE TABLE title_basics AS SELECT 'tt' || lpad((i * 13)::VARCHAR, 7, '0') AS tconst, ['movie', 'short', 'tvSeries'][1 + pick(i, 3)] AS titleType, 'The title ' || pick(i, 900) AS primaryTitle,
    1950 + pick(i || 'y', 70) AS startYear, 60 + pick(i || 'm', 90) AS runtimeMinutes FROM range(1, 1201) r(i);
CREATE TABLE name_basics AS SELECT 'nm' || lpad((i * 7)::VARCHAR, 7, '0') AS nconst, 'Name ' || i AS primaryName, 1930 + pick(i, 60) AS birthYear FROM range(1, 801) r(i);
CREATE TABLE title_ratings AS SELECT tconst, 1 + pick(tconst, 90) / 10 AS averageRating, pick(tconst || 'v', 5000) AS numVotes FROM title_basics WHERE pick(tconst, 3) > 0;
CREATE TABLE title_principals AS SELECT tconst, o AS ordering, 'nm' || lpad((7 * (1 + pick(tconst || o, 800)))::VARCHAR, 7, '0') AS nconst, ['actor', 'director'][1 + pick(tconst || 'c' || o, 2)] AS category
    FROM title_basics, range(1, 5) r(o);
