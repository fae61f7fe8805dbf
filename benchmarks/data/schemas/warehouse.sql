-- A star: dates are integers like 20210131, two roles of one dimension, facts without a key of their own, an index column.
-- key: dim_date(date_key)
-- key: dim_customer(customer_key)
-- key: dim_product(product_key)
-- key: dim_store(store_key)
-- key: fact_sales(index)
-- link: fact_sales(order_date_key) -> dim_date(date_key)
-- link: fact_sales(ship_date_key) -> dim_date(date_key)
-- link: fact_sales(customer_key) -> dim_customer(customer_key)
-- link: fact_sales(product_key) -> dim_product(product_key)
-- link: fact_sales(store_key) -> dim_store(store_key)
-- time: dim_date(full_date)
-- time: fact_sales(order_date_key -> dim_date.full_date)
CREATE TABLE dim_date AS SELECT strftime(d, '%Y%m%d')::INTEGER AS date_key, d AS full_date, month(d) AS month_number, year(d) AS year_number, dayofweek(d) AS day_of_week
    FROM (SELECT DATE '2021-01-01' + i::INTEGER AS d FROM range(730) r(i));
CREATE TABLE dim_customer AS SELECT i AS customer_key, 'C-' || (10000 + i * 3) AS customer_code, pick(i, 90) AS age FROM range(1, 501) r(i);
CREATE TABLE dim_product AS SELECT i AS product_key, 'P' || i AS product_code, 'Product ' || i AS product_name, pick(i, 12) AS size_code FROM range(1, 201) r(i);
CREATE TABLE dim_store AS SELECT i AS store_key, 'Store ' || i AS store_name, 1 + pick(i, 4) AS region_number FROM range(1, 13) r(i);
CREATE TABLE fact_sales AS SELECT i AS "index", strftime(DATE '2021-01-01' + pick(i, 700), '%Y%m%d')::INTEGER AS order_date_key,
    strftime(DATE '2021-01-03' + (pick(i, 700) + pick(i || 's', 20)), '%Y%m%d')::INTEGER AS ship_date_key, 1 + pick(i || 'c', 500) AS customer_key, 1 + pick(i || 'p', 200) AS product_key,
    1 + pick(i || 'st', 12) AS store_key, 1 + pick(i || 'q', 10) AS quantity, pick(i || 'x', 90) / 3 AS amount, pick(i || 'line', 8) + 1 AS line_number FROM range(8000) r(i);
