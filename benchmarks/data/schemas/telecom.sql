-- A table for each month, numbers such as 230131 for dates, an hour beside a day, years and months as text, '\N' for missing.
-- key: customers(msisdn)
-- key: tickets(ticket_no)
-- also: usage_2023_01(msisdn)
-- also: usage_2023_02(msisdn)
-- also: usage_2023_03(msisdn)
-- key: handsets(handset_id)
-- also: outages(cell, day, hr)
-- link: tickets(msisdn) -> customers(msisdn)
-- link: customers(handset_id) -> handsets(handset_id)
-- link: usage_2023_01(msisdn) -> customers(msisdn)
-- link: usage_2023_02(msisdn) -> customers(msisdn)
-- link: usage_2023_03(msisdn) -> customers(msisdn)
-- time: tickets(try_strptime(printf('%06d', try_cast("opened_date" AS BIGINT)), '%y%m%d'))
-- time: customers(try_strptime(trim("activated"), '%d.%m.%Y')) or customers(try_strptime("activated", '%d.%m.%Y'))
-- also: handsets(coalesce(try_cast("released" AS TIMESTAMP), try_strptime("released", '%Y-%m') + INTERVAL 1 MONTH, try_strptime("released", '%Y') + INTERVAL 1 YEAR))
-- time: usage_2023_01(TIMESTAMP '2023-02-01 00:00:00')
-- time: usage_2023_02(TIMESTAMP '2023-03-01 00:00:00')
-- time: usage_2023_03(TIMESTAMP '2023-04-01 00:00:00')
-- time: outages("day" + coalesce(make_time(try_cast("hr" AS BIGINT), 59, 59), TIME '23:59:59'))
CREATE TABLE handsets AS SELECT i AS handset_id, 'Phone ' || i AS model, left((DATE '2015-01-01' + 20 * i::INTEGER)::VARCHAR, [4, 7, 10][1 + pick(i, 3)]) AS released FROM range(1, 121) r(i);
CREATE TABLE customers AS SELECT '+49170' || (100000 + i * 37) AS msisdn, ['S', 'M', 'L', 'm'][1 + pick(i, 4)] AS plan, strftime(DATE '2022-10-01' + pick(i || 'a', 90), '%d.%m.%Y') AS activated,
    1 + pick(i || 'h', 120) AS handset_id, CASE WHEN pick(i || 'b', 9) = 0 THEN '\N' ELSE (1940 + pick(i || 'b', 60))::VARCHAR END AS birth_year FROM range(500) r(i);
CREATE TABLE usage_2023_01 AS SELECT msisdn, pick(msisdn || 1, 90) AS calls, pick(msisdn || 'd1', 9000) / 7 AS megabytes FROM customers WHERE pick(msisdn || 'u1', 20) > 0;
CREATE TABLE usage_2023_02 AS SELECT msisdn, pick(msisdn || 2, 90) AS calls, pick(msisdn || 'd2', 9000) / 7 AS megabytes FROM customers WHERE pick(msisdn || 'u2', 20) > 1;
CREATE TABLE usage_2023_03 AS SELECT msisdn, pick(msisdn || 3, 90) AS calls, pick(msisdn || 'd3', 9000) / 7 AS megabytes FROM customers WHERE pick(msisdn || 'u3', 20) > 2;
CREATE TABLE tickets AS SELECT 'T' || lpad(i::VARCHAR, 6, '0') AS ticket_no, '+49170' || (100000 + 37 * pick(i || 't', 500)) AS msisdn, strftime(DATE '2023-01-01' + (i // 30)::INTEGER, '%y%m%d')::INTEGER AS opened_date,
    ['bill', 'Bill', 'net'][1 + pick(i || 'k', 3)] AS topic FROM range(2700) r(i);
CREATE TABLE outages AS SELECT DATE '2023-01-01' + (i // 24)::INTEGER AS day, i % 24 AS hr, pick(i || 'c', 40) AS cell, pick(i || 'm', 900) AS minutes FROM range(2160) r(i);
