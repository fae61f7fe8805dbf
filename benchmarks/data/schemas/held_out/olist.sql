-- A marketplace: md5 keys, a second id of customers, zip codes that identify nothing, translated names of categories.
-- key: customers(customer_id)
-- key: orders(order_id)
-- key: order_items(order_id, order_item_id)
-- key: order_payments(order_id, payment_sequential)
-- key: order_reviews(review_id)
-- key: products(product_id)
-- key: sellers(seller_id)
-- key: product_category_name_translation(product_category_name)
-- link: orders(customer_id) -> customers(customer_id)
-- link: order_items(order_id) -> orders(order_id)
-- link: order_items(product_id) -> products(product_id)
-- link: order_items(seller_id) -> sellers(seller_id)
-- link: order_payments(order_id) -> orders(order_id)
-- link: order_reviews(order_id) -> orders(order_id)
-- link: products(product_category_name) -> product_category_name_translation(product_category_name)
-- time: orders(order_purchase_timestamp)
-- time: order_reviews(review_creation_date)
-- also: order_reviews(review_answer_timestamp)
-- also: order_items(shipping_limit_date)
-- time: order_payments(orders.order_purchase_timestamp)
-- time: order_items(orders.order_purchase_timestamp)
CREATE TABLE customers AS SELECT md5('c' || i) AS customer_id, md5('u' || pick(i, 1900)) AS customer_unique_id, 1000 + pick(i, 500) AS customer_zip_code_prefix, ['SP', 'RJ', 'MG'][1 + pick(i, 3)] AS customer_state FROM range(2000) r(i);
CREATE TABLE orders AS SELECT md5('o' || i) AS order_id, md5('c' || i) AS customer_id, ['delivered', 'shipped'][1 + pick(i, 2)] AS order_status, TIMESTAMP '2017-01-01' + INTERVAL (i * 5) HOUR AS order_purchase_timestamp,
    CASE WHEN i % 50 > 0 THEN TIMESTAMP '2017-01-03' + INTERVAL (i * 5) HOUR END AS order_delivered_carrier_date, TIMESTAMP '2017-01-20' + INTERVAL (i * 5) HOUR AS order_estimated_delivery_date FROM range(2000) r(i);
CREATE TABLE products AS SELECT md5('p' || i) AS product_id, 'category_' || pick(i, 70) AS product_category_name, pick(i, 70) AS product_name_lenght, pick(i || 'w', 9000) AS product_weight_g FROM range(700) r(i);
CREATE TABLE product_category_name_translation AS SELECT 'category_' || i AS product_category_name, 'english_' || i AS product_category_name_english FROM range(70) r(i);
CREATE TABLE sellers AS SELECT md5('s' || i) AS seller_id, 1000 + pick(i || 'z', 500) AS seller_zip_code_prefix, ['SP', 'RJ'][1 + pick(i, 2)] AS seller_state FROM range(150) r(i);
CREATE TABLE geolocation AS SELECT 1000 + pick(i, 500) AS geolocation_zip_code_prefix, pick(i || 'a', 9000) / -301 AS geolocation_lat, 'city ' || pick(i || 'c', 200) AS geolocation_city FROM range(3000) r(i);
CREATE TABLE order_items AS SELECT md5('o' || o) AS order_id, n AS order_item_id, md5('p' || pick(o || 'p' || n, 700)) AS product_id, md5('s' || pick(o || 's' || n, 150)) AS seller_id,
    TIMESTAMP '2017-01-08' + INTERVAL (o * 5) HOUR AS shipping_limit_date, pick(o || n, 9000) / 100 AS price FROM range(2000) a(o), range(1, 4) b(n) WHERE n = 1 OR pick(o, 5) = 0;
CREATE TABLE order_payments AS SELECT md5('o' || o) AS order_id, n AS payment_sequential, ['credit_card', 'boleto'][1 + pick(o, 2)] AS payment_type, 1 + pick(o || 'i', 10) AS payment_installments, pick(o || n, 9000) / 100 AS payment_value
    FROM range(2000) a(o), range(1, 3) b(n) WHERE n = 1 OR pick(o, 20) = 0;
CREATE TABLE order_reviews AS SELECT md5('r' || i) AS review_id, md5('o' || i) AS order_id, 1 + pick(i, 5) AS review_score, TIMESTAMP '2017-01-15' + INTERVAL (i * 5) HOUR AS review_creation_date,
    TIMESTAMP '2017-01-16' + INTERVAL (i * 5) HOUR AS review_answer_timestamp FROM range(2000) r(i) WHERE pick(i, 50) > 0;
