-- Flights of a year: their date in three columns, delays as text with 'NA', planes that no table lists, a year that is that
-- of a plane, hours as HHMM beside four others.
-- key: carriers(Code)
-- key: airports(iata)
-- key: planes(tailnum)
-- link: ontime(UniqueCarrier) -> carriers(Code)
-- link: ontime(Origin) -> airports(iata)
-- link: ontime(Dest) -> airports(iata)
-- link: ontime(TailNum) -> planes(tailnum)
-- time: ontime(try_strptime(printf('%04d-%02d-%02d', try_cast("Year" AS BIGINT), try_cast("Month" AS BIGINT), try_cast("DayofMonth" AS BIGINT)), '%Y-%m-%d'))
CREATE TABLE carriers AS SELECT ['AA', 'DL', 'UA', 'WN', 'B6', 'AS', 'NK', 'F9'][1 + i] AS Code, 'Airline ' || i AS Description FROM range(8) r(i);
CREATE TABLE airports AS SELECT letter(65 + i % 26) || letter(65 + i // 26) || 'X' AS iata, 'Airport ' || i AS airport, 'City ' || i AS city, 30 + pick(i, 900) / 100 AS lat, -90 - pick(i || 'o', 900) / 100 AS long FROM range(60) r(i);
CREATE TABLE planes AS SELECT 'N' || (10000 + i) AS tailnum, ['BOEING', 'AIRBUS'][1 + pick(i, 2)] AS manufacturer, 1985 + pick(i || 'y', 20) AS year FROM range(300) r(i);
CREATE TABLE ontime AS SELECT year(d) AS "Year", month(d) AS "Month", day(d) AS "DayofMonth", isodow(d) AS "DayOfWeek", 100 * (6 + pick(i || 'h', 16)) + pick(i || 'm', 60) AS "CRSDepTime",
    CASE WHEN pick(i || 'c', 50) = 0 THEN 'NA' ELSE (100 * (6 + pick(i || 'h', 16)) + pick(i || 'm', 60))::VARCHAR END AS "DepTime", ['AA', 'DL', 'UA', 'WN', 'B6', 'AS', 'NK', 'F9'][1 + pick(i || 'u', 8)] AS "UniqueCarrier",
    100 + pick(i || 'f', 900) AS "FlightNum", 'N' || (10000 + pick(i || 't', 300)) AS "TailNum", CASE WHEN pick(i || 'c', 50) = 0 THEN 'NA' ELSE pick(i || 'd', 60)::VARCHAR END AS "DepDelay",
    CASE WHEN pick(i || 'c', 50) = 0 THEN 'NA' ELSE (pick(i || 'd', 60) + pick(i || 'a', 9))::VARCHAR END AS "ArrDelay", letter(65 + pick(i || 'o', 60) % 26) || letter(65 + pick(i || 'o', 60) // 26) || 'X' AS "Origin",
    letter(65 + pick(i || 'e', 60) % 26) || letter(65 + pick(i || 'e', 60) // 26) || 'X' AS "Dest", 200 + pick(i || 'x', 2000) AS "Distance", (pick(i || 'c', 50) = 0)::INTEGER AS "Cancelled"
    FROM (SELECT i, DATE '2007-06-01' + pick(i, 400) AS d FROM range(9000) r(i));
