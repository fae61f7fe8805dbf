-- OpenFlights: airports, airlines and routes as in its data files, where '\N' stands for what is missing, and the log
-- of flights of its site, which is the only table with a time: a date, and a time of day beside it.
--
-- key: airports(apid)
-- key: airlines(alid)
-- key: planes(plid)
-- key: flights(fid)
-- link: flights(src_apid) -> airports(apid)
-- link: flights(dst_apid) -> airports(apid)
-- link: flights(alid) -> airlines(alid)
-- link: flights(plid) -> planes(plid)
-- time: flights("src_date" + coalesce("src_time", TIME '23:59:59'))
-- also: countries(name)
-- also: airlines(country) -> countries(name)
-- also: airports(country) -> countries(name)

CREATE TABLE airports AS
SELECT i + 1 AS apid, word(i, 'airport') || ' Airport' AS name, word(i, 'city') AS city,
    word(i % 20, 'country') || 'ia' AS country,
    CASE WHEN i % 5 = 4 THEN '\N' ELSE chr((65 + i // 26)::INTEGER) || chr((65 + i % 26)::INTEGER) || 'X' END AS iata,
    CASE WHEN i % 9 = 8 THEN '\N' ELSE 'K' || chr((65 + i // 26)::INTEGER) || chr((65 + i % 26)::INTEGER) || 'X' END
    AS icao,
    round(120 * draw(i, 'y') - 60, 4) AS y, round(360 * draw(i, 'x') - 180, 4) AS x,
    below(5000, i, 'height') AS elevation,
    CASE WHEN i % 7 = 0 THEN '\N' ELSE (below(24, i, 'zone') - 12)::VARCHAR END AS timezone,
    ['E', 'A', 'U'][1 + i % 3] AS dst,
    CASE WHEN i % 7 = 0 THEN '\N' ELSE 'Europe/' || word(i, 'zone') END AS tz_id, 'airport' AS type,
    'OurAirports' AS source
FROM range(90) r(i);
CREATE TABLE airlines AS
SELECT i + 1 AS alid, word(i, 'airline') || ' Airways ' || i AS name,
    CASE WHEN i % 4 > 0 THEN '\N' ELSE word(i, 'alias') END AS alias,
    CASE WHEN i % 3 > 0 THEN '' ELSE chr((65 + i)::INTEGER) || 'X' END AS iata,
    CASE WHEN i % 3 = 1 THEN '\N' ELSE 'A' || 100 + i END
    AS icao, upper(word(i, 'call')) AS callsign, word(i % 20, 'country') || 'ia' AS country,
    ['Y', 'N'][1 + (i % 4 = 3)::INTEGER] AS active
FROM range(25) r(i);
CREATE TABLE planes AS
SELECT 'Model ' || 300 + 10 * i AS name, CASE WHEN i % 6 = 5 THEN '\N' ELSE (300 + i)::VARCHAR END AS iata,
    'A' || 300 + i AS icao, i + 1 AS plid
FROM range(20) r(i);
CREATE TABLE countries AS
SELECT word(i, 'country') || 'ia' AS name, upper(left(md5(i::VARCHAR), 2)) AS iso_code,
    CASE WHEN i % 6 = 0 THEN '\N' ELSE 'C' || i END
    AS dafif_code
FROM range(20) r(i);
CREATE TABLE routes AS
SELECT coalesce(nullif(l.iata, ''), l.icao) AS airline,
    CASE WHEN draw(s.apid, 'unknown', d.apid) < 0.03 THEN '\N' ELSE l.alid::VARCHAR END AS alid,
    s.iata AS src_ap, s.apid::VARCHAR AS src_apid, d.iata AS dst_ap,
    CASE WHEN draw(d.apid, 'unknown', s.apid) < 0.03 THEN '\N' ELSE d.apid::VARCHAR END AS dst_apid,
    CASE WHEN draw(s.apid, 'shared', d.apid) < 0.2 THEN 'Y' END AS codeshare, 0 AS stops,
    (300 + below(20, s.apid, 'type', d.apid))::VARCHAR AS equipment
FROM airports s JOIN airports d ON s.apid <> d.apid AND draw(s.apid, 'to', d.apid) < 0.05
JOIN airlines l ON l.alid = 1 + below(25, s.apid, 'flown by', d.apid);
CREATE TABLE flights AS
SELECT row_number() OVER (ORDER BY day, src_apid, dst_apid) AS fid, 1 + below(30, day, 'user', src_apid) AS uid,
    src_apid::INTEGER AS src_apid, DATE '2019-01-01' + day::INTEGER AS src_date,
    CASE WHEN draw(src_apid, 'logged', day) < 0.9 THEN TIME '06:00:00' + to_minutes(below(900, src_apid, 'at', day))
    END AS src_time,
    dst_apid, 100 + below(7000, src_apid, 'far', dst_apid) AS distance,
    alid || '-' || below(900, src_apid, 'code', dst_apid) AS code,
    ['W', 'A', 'M'][1 + below(3, day, 'seat', src_apid)] AS seat_type,
    1 + below(20, day, 'plane', src_apid) AS plid, alid, NULL::VARCHAR AS note,
    TIMESTAMP '2021-05-05 05:05:05' AS upd_time, 'F' AS mode
FROM (
    SELECT src_apid, TRY_CAST(dst_apid AS INTEGER) AS dst_apid, TRY_CAST(alid AS INTEGER) AS alid FROM routes
    WHERE TRY_CAST(dst_apid AS INTEGER) IS NOT NULL AND TRY_CAST(alid AS INTEGER) IS NOT NULL
), range(0, 500, 4) d(day)
WHERE draw(src_apid, 'flies', day, dst_apid) < 0.06 * draw(src_apid, 'busy');
