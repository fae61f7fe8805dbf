-- Public transport: texts as keys, stop times by trip and sequence, shapes that no table describes.
-- key: agency(agency_id)
-- key: stops(stop_id)
-- key: routes(route_id)
-- key: trips(trip_id)
-- key: stop_times(trip_id, stop_sequence)
-- key: calendar(service_id)
-- key: shapes(shape_id, shape_pt_sequence)
-- link: routes(agency_id) -> agency(agency_id)
-- link: trips(route_id) -> routes(route_id)
-- link: trips(service_id) -> calendar(service_id)
-- link: stop_times(trip_id) -> trips(trip_id)
-- link: stop_times(stop_id) -> stops(stop_id)
-- link: stops(parent_station) -> stops(stop_id)
-- also: calendar(start_date)
CREATE TABLE agency AS SELECT ['north', 'south'][i] AS agency_id, 'Agency ' || i AS agency_name, 'Europe/Berlin' AS agency_timezone FROM range(1, 3) r(i);
CREATE TABLE stops AS SELECT 'S' || (1000 + i) AS stop_id, 'Stop at street ' || i AS stop_name, 52 + pick(i, 9999) / 10000 AS stop_lat, CASE WHEN i % 4 > 0 THEN 0 ELSE 1 END AS location_type,
    CASE WHEN i % 4 > 0 THEN 'S' || (1000 + i - i % 4) END AS parent_station FROM range(400) r(i);
CREATE TABLE routes AS SELECT 'R' || i AS route_id, ['north', 'south'][1 + pick(i, 2)] AS agency_id, i::VARCHAR AS route_short_name, pick(i || 't', 4) AS route_type FROM range(1, 41) r(i);
CREATE TABLE calendar AS SELECT 'wk' || i AS service_id, pick(i || 'm', 2) AS monday, pick(i || 't', 2) AS tuesday, DATE '2024-01-01' + (i * 7)::INTEGER AS start_date, DATE '2024-12-31' AS end_date FROM range(1, 25) r(i);
CREATE TABLE trips AS SELECT 'R' || (1 + pick(i, 40)) AS route_id, 'wk' || (1 + pick(i || 's', 24)) AS service_id, 'T' || i AS trip_id, pick(i || 'd', 2) AS direction_id, 'sh' || pick(i || 'h', 60) AS shape_id FROM range(1, 1201) r(i);
CREATE TABLE stop_times AS SELECT 'T' || t AS trip_id, '08:' || lpad((n * 4)::VARCHAR, 2, '0') || ':00' AS arrival_time, 'S' || (1000 + pick(t || 'x' || n, 400)) AS stop_id, n AS stop_sequence FROM range(1, 1201) a(t), range(1, 9) b(n);
CREATE TABLE shapes AS SELECT 'sh' || s AS shape_id, 52 + pick(s || n, 9999) / 10000 AS shape_pt_lat, n AS shape_pt_sequence FROM range(60) a(s), range(1, 30) b(n);
