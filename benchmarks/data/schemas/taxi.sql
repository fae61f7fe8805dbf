-- Trips of a taxi: two roles as capitals in front of the key, a payment code with a table, a rate code without one.
-- key: taxi_zones(LocationID)
-- key: payment_types(payment_type)
-- key: vendors(VendorID)
-- link: yellow_trips(PULocationID) -> taxi_zones(LocationID)
-- link: yellow_trips(DOLocationID) -> taxi_zones(LocationID)
-- link: yellow_trips(payment_type) -> payment_types(payment_type)
-- link: yellow_trips(VendorID) -> vendors(VendorID)
-- time: yellow_trips(tpep_pickup_datetime)
CREATE TABLE taxi_zones AS SELECT i AS LocationID, ['Queens', 'Bronx', 'Brooklyn'][1 + pick(i, 3)] AS Borough, 'Zone ' || i AS Zone FROM range(1, 266) r(i);
CREATE TABLE payment_types AS SELECT i AS payment_type, 'way ' || i AS label FROM range(1, 7) r(i);
CREATE TABLE vendors AS SELECT i AS VendorID, 'Vendor ' || i AS vendor_name FROM range(1, 4) r(i);
CREATE TABLE yellow_trips AS SELECT 1 + pick(i || 'v', 3) AS VendorID, TIMESTAMP '2024-01-01' + INTERVAL (7 * i) MINUTE AS tpep_pickup_datetime, TIMESTAMP '2024-01-01' + INTERVAL (7 * i + 3 + pick(i, 60)) MINUTE AS tpep_dropoff_datetime,
    1 + pick(i || 'n', 6) AS passenger_count, pick(i || 'd', 900) / 30 AS trip_distance, 1 + pick(i || 'r', 6) AS RatecodeID, 1 + pick(i || 'p', 265) AS PULocationID, 1 + pick(i || 'o', 265) AS DOLocationID,
    1 + pick(i || 't', 6) AS payment_type, pick(i || 'f', 9000) / 100 AS fare_amount FROM range(8000) r(i);
