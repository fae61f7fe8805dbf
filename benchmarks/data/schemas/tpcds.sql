-- A part of TPC-DS: every column begins with the initials of its table, and keys are surrogates named after the table.
-- key: customer(c_customer_sk)
-- key: item(i_item_sk)
-- key: store(s_store_sk)
-- key: date_dim(d_date_sk)
-- key: promotion(p_promo_sk)
-- key: store_sales(ss_item_sk, ss_ticket_number)
-- also: store_returns(sr_item_sk, sr_ticket_number)
-- link: store_sales(ss_customer_sk) -> customer(c_customer_sk)
-- link: store_sales(ss_item_sk) -> item(i_item_sk)
-- link: store_sales(ss_store_sk) -> store(s_store_sk)
-- link: store_sales(ss_sold_date_sk) -> date_dim(d_date_sk)
-- link: store_sales(ss_promo_sk) -> promotion(p_promo_sk)
-- link: store_returns(sr_customer_sk) -> customer(c_customer_sk)
-- link: store_returns(sr_item_sk) -> item(i_item_sk)
-- link: store_returns(sr_returned_date_sk) -> date_dim(d_date_sk)
-- link: store_returns(sr_item_sk, sr_ticket_number) -> store_sales(ss_item_sk, ss_ticket_number)
-- also: customer(c_first_sales_date_sk) -> date_dim(d_date_sk)
-- also: customer(date_dim.d_date)
-- time: date_dim(d_date)
-- time: store_sales(date_dim.d_date)
-- time: store_returns(date_dim.d_date)
CREATE TABLE date_dim AS SELECT 2450815 + i AS d_date_sk, 'AAAAAAAA' || lpad(i::VARCHAR, 8, '0') AS d_date_id, DATE '2019-01-01' + i::INTEGER AS d_date, 1 + i % 12 AS d_moy FROM range(1000) r(i);
CREATE TABLE customer AS SELECT i AS c_customer_sk, 'BBBBBBBB' || lpad(i::VARCHAR, 8, '0') AS c_customer_id, 2450815 + pick(i, 900) AS c_first_sales_date_sk,
    1930 + pick(i || 'b', 70) AS c_birth_year FROM range(1, 801) r(i);
CREATE TABLE item AS SELECT i AS i_item_sk, 'CCCCCCCC' || lpad(i::VARCHAR, 8, '0') AS i_item_id, pick(i, 900) / 10 AS i_current_price, 1 + pick(i || 'b', 90) AS i_brand_id FROM range(1, 301) r(i);
CREATE TABLE store AS SELECT i AS s_store_sk, 'DDDDDDDD' || lpad(i::VARCHAR, 8, '0') AS s_store_id, 100 + pick(i, 90) AS s_number_employees FROM range(1, 13) r(i);
CREATE TABLE promotion AS SELECT i AS p_promo_sk, 'EEEEEEEE' || lpad(i::VARCHAR, 8, '0') AS p_promo_id, pick(i, 2) AS p_response_target FROM range(1, 61) r(i);
CREATE TABLE store_sales AS SELECT DISTINCT ON (ss_item_sk, ss_ticket_number) * FROM (SELECT 2450815 + t // 4 AS ss_sold_date_sk, 1 + pick(t || 'i' || n, 300) AS ss_item_sk, 1 + pick(t, 800) AS ss_customer_sk,
    1 + pick(t || 's', 12) AS ss_store_sk, 1 + pick(t || 'p' || n, 60) AS ss_promo_sk, t + 1 AS ss_ticket_number, 1 + pick(t || 'q' || n, 100) AS ss_quantity, pick(t || 'x' || n, 900) / 10 AS ss_net_paid
    FROM range(1500) r(t), range(3) q(n));
CREATE TABLE store_returns AS SELECT ss_sold_date_sk + 5 + pick(ss_ticket_number, 60) AS sr_returned_date_sk, ss_item_sk AS sr_item_sk, ss_customer_sk AS sr_customer_sk, ss_ticket_number AS sr_ticket_number,
    1 + pick(ss_ticket_number || 'q', 20) AS sr_return_quantity FROM store_sales WHERE pick(ss_ticket_number || 'r' || ss_item_sk, 9) = 0;
