-- Northwind: a wholesaler of food. Dates are ISO text, customers have text keys, lines of orders have no date.
--
-- key: categories(category_id)
-- key: customers(customer_id)
-- key: employees(employee_id)
-- key: employee_territories(employee_id, territory_id)
-- key: order_details(order_id, product_id)
-- key: orders(order_id)
-- key: products(product_id)
-- key: region(region_id)
-- key: shippers(shipper_id)
-- key: suppliers(supplier_id)
-- key: territories(territory_id)
-- key: us_states(state_id)
-- link: employees(reports_to) -> employees(employee_id)
-- link: employee_territories(employee_id) -> employees(employee_id)
-- link: employee_territories(territory_id) -> territories(territory_id)
-- link: territories(region_id) -> region(region_id)
-- link: orders(customer_id) -> customers(customer_id)
-- link: orders(employee_id) -> employees(employee_id)
-- link: orders(ship_via) -> shippers(shipper_id)
-- link: order_details(order_id) -> orders(order_id)
-- link: order_details(product_id) -> products(product_id)
-- link: products(category_id) -> categories(category_id)
-- link: products(supplier_id) -> suppliers(supplier_id)
-- time: orders(try_cast("order_date" AS TIMESTAMP))
-- time: order_details(orders)
-- also: employees(try_cast("hire_date" AS TIMESTAMP))

CREATE TABLE categories AS
SELECT i + 1 AS category_id, ['Beverages', 'Condiments', 'Confections', 'Dairy', 'Grains', 'Meat', 'Produce',
    'Seafood'][i + 1]
    AS category_name, 'Food of kind ' || i AS description, 'picture'::BLOB AS picture
FROM range(8) r(i);
CREATE TABLE customer_customer_demo (customer_id VARCHAR, customer_type_id VARCHAR);
CREATE TABLE customer_demographics (customer_type_id VARCHAR, customer_desc VARCHAR);
CREATE TABLE customers AS
SELECT upper(left(md5('customer ' || i), 5)) AS customer_id, word(i, 'firm') || ' Markt ' || i AS company_name,
    name(i, 'contact') AS contact_name, ['Owner', 'Sales Agent', 'Order Administrator'][1 + i % 3] AS contact_title,
    i || ' High Street' AS address, word(i, 'city') AS city, CASE WHEN i % 3 = 0 THEN 'R' || i % 7 END AS region,
    (10000 + 7 * i)::VARCHAR AS postal_code, ['Germany', 'UK', 'Sweden', 'USA'][1 + i % 4] AS country,
    '030-00' || i AS phone, CASE WHEN i % 4 > 0 THEN '030-01' || i END AS fax
FROM range(60) r(i);
CREATE TABLE employees AS
SELECT i AS employee_id, name(i, 'last') AS last_name, name(i, 'first') AS first_name,
    ['Sales Representative', 'Vice President, Sales'][1 + (i = 2)::INTEGER] AS title, 'Ms.' AS title_of_courtesy,
    strftime(DATE '1948-12-08' + (i * 700)::INTEGER, '%Y-%m-%d') AS birth_date,
    strftime(DATE '1992-04-01' + (i * 97)::INTEGER, '%Y-%m-%d') AS hire_date,
    i || ' Hill Street' AS address, word(i, 'town') AS city, 'WA' AS region, '98122' AS postal_code, 'USA' AS country,
    '(206) 555-98' || i AS home_phone, 5400 + i AS extension, 'picture'::BLOB AS photo, 'Notes on ' || i AS notes,
    [2, NULL, 2, 2, 2, 5, 5, 2, 5][i] AS reports_to, 'http://example.com/' || i || '.bmp' AS photo_path
FROM range(1, 10) r(i);
CREATE TABLE region AS SELECT i AS region_id, ['Eastern', 'Western', 'Northern', 'Southern'][i] AS region_description
FROM range(1, 5) r(i);
CREATE TABLE territories AS
SELECT (1581 + 1733 * i)::VARCHAR AS territory_id, word(i, 'territory') AS territory_description, 1 + i % 4 AS region_id
FROM range(53) r(i);
CREATE TABLE employee_territories AS
SELECT 1 + below(9, territory_id, 'of') AS employee_id, territory_id FROM territories;
CREATE TABLE shippers AS
SELECT i AS shipper_id, ['Speedy Express', 'United Package', 'Federal Shipping', 'Alliance', 'UPS', 'DHL'][i]
    AS company_name,
    '1-800-' || i AS phone
FROM range(1, 7) r(i);
CREATE TABLE suppliers AS
SELECT i + 1 AS supplier_id, word(i, 'supplier') || ' Ltd. ' || i AS company_name, name(i, 'sells') AS contact_name,
    'Sales Manager' AS contact_title, i || ' Dock' AS address, word(i, 'port') AS city, NULL::VARCHAR AS region,
    (20000 + i)::VARCHAR AS postal_code, ['Japan', 'UK', 'USA'][1 + i % 3] AS country, '03-' || i AS phone,
    NULL::VARCHAR AS fax, NULL::VARCHAR AS homepage
FROM range(29) r(i);
CREATE TABLE products AS
SELECT i + 1 AS product_id, word(i, 'product') || ' ' || i AS product_name, 1 + below(29, i, 'supplier') AS supplier_id,
    1 + i % 8 AS category_id, '10 boxes x ' || 5 + i % 20 || ' bags' AS quantity_per_unit,
    round(5 + 60 * draw(i, 'price'), 2) AS unit_price, below(120, i, 'stock') AS units_in_stock,
    10 * below(8, i, 'order') AS units_on_order, 5 * below(6, i, 'level') AS reorder_level,
    (i % 10 = 0)::INTEGER AS discontinued
FROM range(77) r(i);
CREATE TABLE us_states AS
SELECT i AS state_id, 'State ' || i AS state_name, 'S' || i AS state_abbr,
    ['west', 'east', 'south'][1 + i % 3] AS state_region
FROM range(1, 52) r(i);

CREATE TABLE orders AS
SELECT 10247 + row_number() OVER (ORDER BY day, c.customer_id) AS order_id, c.customer_id,
    1 + below(9, c.customer_id, 'sold by', day) AS employee_id,
    strftime(DATE '1996-07-04' + day::INTEGER, '%Y-%m-%d') AS order_date,
    strftime(DATE '1996-07-04' + (day + 28)::INTEGER, '%Y-%m-%d') AS required_date,
    CASE WHEN day < 660 THEN strftime(DATE '1996-07-04' + (day + 3 + day % 9)::INTEGER, '%Y-%m-%d') END AS shipped_date,
    1 + below(3, c.customer_id, 'by', day) AS ship_via, round(200 * draw(day, 'freight', c.customer_id), 2) AS freight,
    c.company_name AS ship_name, c.address AS ship_address, c.city AS ship_city, c.region AS ship_region,
    c.postal_code AS ship_postal_code, c.country AS ship_country
FROM customers c, range(0, 671) d(day)
WHERE dayofweek(DATE '1996-07-04' + day::INTEGER) BETWEEN 1 AND 5
    AND draw(c.customer_id, 'orders', day) < 0.005 + 0.02 * draw(c.customer_id, 'size');
CREATE TABLE order_details AS
SELECT DISTINCT ON (order_id, product_id) order_id,
    1 + (77 * draw(order_id, 'product', n) * draw(n, 'liked', order_id))::INTEGER % 77
    AS product_id, round(5 + 60 * draw(order_id, 'price', n), 2) AS unit_price,
    1 + below(60, order_id, 'quantity', n) AS quantity,
    0.05 * below(5, order_id, 'discount', n) AS discount
FROM orders, range(1, 5) l(n) WHERE n <= 1 + below(4, order_id, 'lines');
