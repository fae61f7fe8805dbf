-- Flight routes read as text: missing numbers are '\N', some routes point at airports that are not there.
-- key: airports(airport_id)
-- key: airlines(airline_id)
-- key: countries(name)
-- link: routes(airline_id) -> airlines(airline_id)
-- link: routes(source_airport_id) -> airports(airport_id)
-- link: routes(dest_airport_id) -> airports(airport_id)
-- link: airports(country) -> countries(name)
-- link: airlines(country) -> countries(name)
-- also: routes(airline) -> airlines(iata)
-- also: routes(source_airport) -> airports(iata)
-- also: routes(dest_airport) -> airports(iata)
-- also: planes(name)
-- also: planes(iata)
CREATE TABLE countries AS SELECT 'Land of ' || i AS name, letter(65 + i // 26) || letter(65 + i % 26) AS iso_code, CASE WHEN i % 7 = 0 THEN '\N' ELSE 'C' || i END AS dafif_code
    FROM range(120) r(i);
CREATE TABLE airports AS SELECT (i + 1 + i // 50)::VARCHAR AS airport_id, 'Airport ' || i AS name, 'City ' || pick(i, 700) AS city, 'Land of ' || pick(i || 'l', 120) AS country,
    CASE WHEN i % 4 = 0 THEN '\N' ELSE letter(65 + pick(i, 26)) || letter(65 + (i // 26) % 26) || letter(65 + i % 26) END AS iata, pick(i || 'a', 9000) AS altitude, pick(i, 24) - 12 AS timezone
    FROM range(900) r(i);
CREATE TABLE airlines AS SELECT (i * 2 + 1)::VARCHAR AS airline_id, 'Airline ' || i AS name, '\N' AS alias, CASE WHEN i % 2 = 0 THEN '-' ELSE letter(65 + (i // 26) % 26) || letter(65 + i % 26) END AS iata,
    'Land of ' || pick(i, 120) AS country, ['Y', 'N'][1 + pick(i || 'a', 2)] AS active FROM range(400) r(i);
CREATE TABLE planes AS SELECT 'Plane ' || i AS name, (100 + i)::VARCHAR AS iata, 'B' || (700 + i) AS icao FROM range(150) r(i);
CREATE TABLE routes AS SELECT letter(65 + pick(i, 26)) || letter(65 + pick(i || 'x', 26)) AS airline, CASE WHEN i % 140 = 0 THEN '\N' ELSE (pick(i, 400) * 2 + 1)::VARCHAR END AS airline_id,
    'AAA' AS source_airport, CASE WHEN i % 90 = 0 THEN '\N' ELSE (1 + pick(i || 's', 917))::VARCHAR END AS source_airport_id,
    'BBB' AS dest_airport, CASE WHEN i % 80 = 0 THEN '\N' ELSE (1 + pick(i || 'd', 917))::VARCHAR END AS dest_airport_id,
    CASE WHEN pick(i, 5) = 0 THEN 'Y' END AS codeshare, pick(i || 'n', 2) AS stops, (100 + pick(i || 'e', 150))::VARCHAR AS equipment FROM range(6000) r(i);
