-- Listings with hosts that have no table of their own, and ratings of users that have none either.
-- key: listings(id)
-- key: reviews(id)
-- key: movies(movieId)
-- key: links(movieId)
-- key: calendar(listing_id, date)
-- key: ratings(userId, movieId)
-- link: calendar(listing_id) -> listings(id)
-- link: reviews(listing_id) -> listings(id)
-- link: ratings(movieId) -> movies(movieId)
-- link: links(movieId) -> movies(movieId)
-- time: reviews(date)
-- time: calendar(date)
-- time: ratings(make_timestamp(try_cast("timestamp" AS BIGINT) * 1000000))
CREATE TABLE listings AS SELECT 2595 + 37 * i + pick(i, 30) AS id, 100 + 13 * pick(i || 'h', 500) AS host_id, 'Room ' || i AS name, 30 + pick(i || 'p', 300) AS price FROM range(700) r(i);
CREATE TABLE reviews AS SELECT 10000 + 11 * i AS id, 2595 + 37 * l + pick(l, 30) AS listing_id, 500 + 17 * pick(i || 'r', 3000) AS reviewer_id, DATE '2019-01-01' + pick(i || 'd', 1400) AS date FROM (SELECT i, pick(i, 700) AS l FROM range(6000) r(i));
CREATE TABLE calendar AS SELECT 2595 + 37 * i + pick(i, 30) AS listing_id, DATE '2022-12-01' + d::INTEGER AS date, pick(i || d, 2) = 1 AS available, 30 + pick(i || 'p', 300) AS price FROM range(700) r(i), range(15) q(d);
CREATE TABLE movies AS SELECT 1 + 3 * i + pick(i, 3) AS movieId, 'Film ' || i AS title FROM range(800) r(i);
CREATE TABLE links AS SELECT movieId, 100000 + 7 * movieId AS imdbId, 800 + pick(movieId, 90000) AS tmdbId FROM movies;
CREATE TABLE ratings AS SELECT DISTINCT ON (userId, movieId) * FROM (SELECT 1 + pick(i, 300) AS userId, 1 + 3 * m + pick(m, 3) AS movieId, (1 + pick(i || 'r', 10)) / 2 AS rating, 964982703 + 7919 * i AS timestamp
    FROM (SELECT i, pick(i || 'm', 800) AS m FROM range(6000) r(i)));
