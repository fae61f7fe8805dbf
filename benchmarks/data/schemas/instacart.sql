-- Baskets: lines have a key of two columns, users have no table, and counters are found in every column of row numbers.
-- key: aisles(aisle_id)
-- key: departments(department_id)
-- key: products(product_id)
-- key: orders(order_id)
-- key: order_products(order_id, product_id) or order_products(order_id, add_to_cart_order)
-- link: products(aisle_id) -> aisles(aisle_id)
-- link: products(department_id) -> departments(department_id)
-- link: order_products(order_id) -> orders(order_id)
-- link: order_products(product_id) -> products(product_id)
CREATE TABLE aisles AS SELECT i AS aisle_id, 'aisle with things ' || i AS aisle FROM range(1, 135) r(i);
CREATE TABLE departments AS SELECT i AS department_id, 'department ' || i AS department FROM range(1, 22) r(i);
CREATE TABLE products AS SELECT i AS product_id, 'Product Name ' || i AS product_name, 1 + pick(i, 134) AS aisle_id, 1 + pick(i || 'd', 21) AS department_id FROM range(1, 2001) r(i);
CREATE TABLE orders AS SELECT i AS order_id, 1 + pick(i, 400) AS user_id, ['prior', 'train'][1 + pick(i || 'e', 2)] AS eval_set, 1 + i % 50 AS order_number, pick(i || 'w', 7) AS order_dow,
    pick(i || 'h', 24) AS order_hour_of_day, CASE WHEN i % 50 > 0 THEN pick(i || 's', 31)::DOUBLE END AS days_since_prior_order FROM range(1, 4001) r(i);
CREATE TABLE order_products AS SELECT DISTINCT ON (order_id, product_id) 1 + i // 8 AS order_id, 1 + pick(i, 2000) AS product_id, 1 + i % 8 AS add_to_cart_order, pick(i || 'r', 2) AS reordered
    FROM range(24000) r(i);
