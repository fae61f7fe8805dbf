-- A wholesaler: customers have text keys, lines have a key of two columns, employees report to each other.
-- key: categories(category_id)
-- key: suppliers(supplier_id)
-- key: products(product_id)
-- key: customers(customer_id)
-- key: employees(employee_id)
-- key: shippers(shipper_id)
-- key: orders(order_id)
-- key: order_details(order_id, product_id)
-- key: region(region_id)
-- key: territories(territory_id)
-- key: employee_territories(employee_id, territory_id)
-- link: products(category_id) -> categories(category_id)
-- link: products(supplier_id) -> suppliers(supplier_id)
-- link: orders(customer_id) -> customers(customer_id)
-- link: orders(employee_id) -> employees(employee_id)
-- link: orders(ship_via) -> shippers(shipper_id)
-- link: order_details(order_id) -> orders(order_id)
-- link: order_details(product_id) -> products(product_id)
-- link: employees(reports_to) -> employees(employee_id)
-- link: territories(region_id) -> region(region_id)
-- link: employee_territories(employee_id) -> employees(employee_id)
-- link: employee_territories(territory_id) -> territories(territory_id)
-- time: orders(order_date)
-- time: order_details(orders.order_date)
CREATE TABLE categories AS SELECT i AS category_id, 'Category ' || i AS category_name FROM range(1, 9) r(i);
CREATE TABLE suppliers AS SELECT i AS supplier_id, 'Supplier ' || i AS company_name, 'City ' || pick(i, 20) AS city FROM range(1, 30) r(i);
CREATE TABLE products AS SELECT i AS product_id, 'Product ' || i AS product_name, 1 + pick(i, 29) AS supplier_id, 1 + pick(i || 'c', 8) AS category_id,
    pick(i || 'p', 5000) / 100 AS unit_price, pick(i || 's', 120) AS units_in_stock, 10 * pick(i || 'r', 4) AS reorder_level,
    pick(i || 'd', 2) AS discontinued FROM range(1, 78) r(i);
CREATE TABLE customers AS SELECT upper(substr(md5(i::VARCHAR), 1, 5)) AS customer_id, 'Company ' || i AS company_name,
    ['Owner', 'Sales Agent'][1 + pick(i, 2)] AS contact_title, 'City ' || pick(i || 'c', 60) AS city FROM range(1, 92) r(i);
CREATE TABLE employees AS SELECT i AS employee_id, 'Last ' || i AS last_name, [2, NULL, 2, 2, 2, 5, 5, 2, 5][i] AS reports_to,
    DATE '1950-01-01' + pick(i, 5000) AS birth_date, DATE '1992-01-01' + (i * 90)::INTEGER AS hire_date FROM range(1, 10) r(i);
CREATE TABLE shippers AS SELECT i AS shipper_id, 'Shipper ' || i AS company_name FROM range(1, 4) r(i);
CREATE TABLE orders AS SELECT 10247 + i AS order_id, upper(substr(md5((1 + pick(i, 91))::VARCHAR), 1, 5)) AS customer_id,
    1 + pick(i || 'e', 9) AS employee_id, DATE '1996-07-04' + (i * 0.8)::INTEGER AS order_date, DATE '1996-08-01' + (i * 0.8)::INTEGER AS required_date,
    CASE WHEN i < 800 THEN DATE '1996-07-10' + (i * 0.8)::INTEGER END AS shipped_date, 1 + pick(i || 'v', 3) AS ship_via, pick(i || 'f', 9000) / 100 AS freight
    FROM range(1, 831) r(i);
CREATE TABLE order_details AS SELECT DISTINCT ON (order_id, product_id) * FROM (SELECT 10247 + 1 + (i // 3) % 830 AS order_id, 1 + pick(i, 77) AS product_id,
    pick(i || 'p', 5000) / 100 AS unit_price, 1 + pick(i || 'q', 60) AS quantity, pick(i || 'd', 5) / 20 AS discount FROM range(2400) r(i));
CREATE TABLE region AS SELECT i AS region_id, ['Eastern', 'Western', 'Northern', 'Southern'][i] AS region_description FROM range(1, 5) r(i);
CREATE TABLE territories AS SELECT lpad((1581 + i * 1371)::VARCHAR, 5, '0') AS territory_id, 'Territory ' || i AS territory_description,
    1 + pick(i, 4) AS region_id FROM range(53) r(i);
CREATE TABLE employee_territories AS SELECT DISTINCT 1 + pick(i, 9) AS employee_id, lpad((1581 + i * 1371)::VARCHAR, 5, '0') AS territory_id FROM range(49) r(i);
