-- jaffle_shop: the seeds of dbt's example project. Three files; every key is called id; payments have no date.
--
-- key: raw_customers(id)
-- key: raw_orders(id)
-- key: raw_payments(id)
-- link: raw_orders(user_id) -> raw_customers(id)
-- link: raw_payments(order_id) -> raw_orders(id)
-- time: raw_orders(order_date)
-- time: raw_payments(raw_orders.order_date)

CREATE TABLE raw_customers AS
SELECT i AS id, name(i, 'first') AS first_name,
    upper(left(name(i, 'last'), 1)) || '.' AS last_name FROM range(1, 101) r(i);
CREATE TABLE raw_orders AS
SELECT row_number() OVER (ORDER BY day, c) AS id, c AS user_id, DATE '2018-01-01' + day::INTEGER AS order_date,
    CASE WHEN day > 96 THEN 'placed' WHEN day > 90 THEN 'shipped' WHEN draw(c, 'back', day) < 0.06 THEN 'returned'
        WHEN draw(c, 'back', day) < 0.1 THEN 'return_pending' ELSE 'completed' END AS status
FROM range(1, 101) r(c), range(0, 99) d(day) WHERE draw(c, 'orders', day) < 0.035 * draw(c, 'hungry');
CREATE TABLE raw_payments AS
SELECT row_number() OVER (ORDER BY o.id, n) AS id, o.id AS order_id,
    ['credit_card', 'coupon', 'bank_transfer', 'gift_card'][1 + below(4, o.id, 'method', n)] AS payment_method,
    100 * below(31, o.id, 'amount', n) AS amount
FROM raw_orders o, range(2) p(n) WHERE n = 0 OR draw(o.id, 'split') < 0.14;
