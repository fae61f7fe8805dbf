-- Seeds of a dbt project: raw_ tables that all have an id from 1 to n; user_id is the id of a customer.
-- key: raw_customers(id)
-- key: raw_orders(id)
-- key: raw_payments(id)
-- link: raw_orders(user_id) -> raw_customers(id)
-- link: raw_payments(order_id) -> raw_orders(id)
-- time: raw_orders(order_date)
-- time: raw_payments(raw_orders.order_date)
CREATE TABLE raw_customers AS SELECT i AS id, 'First ' || pick(i, 60) AS first_name, letter(65 + pick(i, 26)) || '.' AS last_name
    FROM range(1, 101) r(i);
CREATE TABLE raw_orders AS SELECT i AS id, 1 + pick(i, 100) AS user_id, DATE '2018-01-01' + (i // 2)::INTEGER AS order_date,
    ['returned', 'completed', 'return_pending', 'shipped', 'placed'][1 + pick(i || 's', 5)] AS status FROM range(1, 200) r(i);
CREATE TABLE raw_payments AS SELECT i AS id, 1 + (i * 7) % 199 AS order_id,
    ['credit_card', 'coupon', 'bank_transfer', 'gift_card'][1 + pick(i, 4)] AS payment_method, 100 * pick(i || 'a', 30) AS amount
    FROM range(1, 240) r(i);
