-- Tables of a loader: prefixes such as raw and stg, keys that the child names with the parent's singular before them.
-- key: raw_items(sku)
-- key: raw_customers(id)
-- key: stg_stores(number)
-- key: raw_orders(id)
-- key: raw_supplies(supply_key)
-- key: codes(row_id)
-- link: raw_orders(item_sku) -> raw_items(sku)
-- link: raw_orders(customer) -> raw_customers(id)
-- link: raw_orders(store_number) -> stg_stores(number)
-- link: raw_supplies(sku) -> raw_items(sku)
-- link: events(code_row) -> codes(row_id)
-- link: events(order_ref) -> raw_orders(id)
-- time: raw_orders(ordered_at)
-- time: events(at_time)
CREATE TABLE raw_items AS SELECT 'JAF-' || lpad(i::VARCHAR, 3, '0') AS sku, 'thing ' || i AS name, 100 + pick(i, 900) AS price FROM range(1, 41) r(i);
CREATE TABLE raw_customers AS SELECT md5('c' || i) AS id, 'Name ' || pick(i, 300) AS name FROM range(400) r(i);
CREATE TABLE stg_stores AS SELECT 100 + 7 * i AS number, 'Store ' || i AS name, 1000 + pick(i, 900) AS floor_space FROM range(30) r(i);
CREATE TABLE raw_supplies AS SELECT 'SUP-' || lpad(i::VARCHAR, 3, '0') AS supply_key, 'JAF-' || lpad((1 + pick(i, 40))::VARCHAR, 3, '0') AS sku, pick(i || 'p', 2) = 1 AS perishable FROM range(65) r(i);
CREATE TABLE raw_orders AS SELECT md5('o' || i) AS id, md5('c' || pick(i, 400)) AS customer, 'JAF-' || lpad((1 + pick(i || 's', 40))::VARCHAR, 3, '0') AS item_sku,
    100 + 7 * pick(i || 't', 30) AS store_number, TIMESTAMP '2022-01-01' + INTERVAL (i) HOUR AS ordered_at, 1 + pick(i || 'q', 9) AS quantity FROM range(3000) r(i);
CREATE TABLE codes AS SELECT i AS row_id, 'label ' || i AS label FROM range(1, 121) r(i);
CREATE TABLE events AS SELECT 1 + pick(i, 120) AS code_row, md5('o' || (i * 3 // 4)) AS order_ref, TIMESTAMP '2022-01-01' + INTERVAL (i * 3 // 4 + 1 + pick(i || 'h', 40)) HOUR AS at_time, 1 + pick(i || 'v', 99) AS value FROM range(4000) r(i);
