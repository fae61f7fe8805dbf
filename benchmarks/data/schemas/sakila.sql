-- A film rental: stores and staff point at each other, every table has a last_update, all keys are small integers.
-- key: actor(actor_id)
-- key: language(language_id)
-- key: film(film_id)
-- key: film_actor(actor_id, film_id)
-- key: category(category_id)
-- key: film_category(film_id, category_id)
-- key: country(country_id)
-- key: city(city_id)
-- key: address(address_id)
-- key: store(store_id)
-- key: staff(staff_id)
-- key: customer(customer_id)
-- key: inventory(inventory_id)
-- key: rental(rental_id)
-- key: payment(payment_id)
-- link: film(language_id) -> language(language_id)
-- link: film_actor(actor_id) -> actor(actor_id)
-- link: film_actor(film_id) -> film(film_id)
-- link: film_category(film_id) -> film(film_id)
-- link: film_category(category_id) -> category(category_id)
-- link: city(country_id) -> country(country_id)
-- link: address(city_id) -> city(city_id)
-- link: store(manager_staff_id) -> staff(staff_id)
-- link: store(address_id) -> address(address_id)
-- link: staff(store_id) -> store(store_id)
-- link: staff(address_id) -> address(address_id)
-- link: customer(store_id) -> store(store_id)
-- link: customer(address_id) -> address(address_id)
-- link: inventory(film_id) -> film(film_id)
-- link: inventory(store_id) -> store(store_id)
-- link: rental(inventory_id) -> inventory(inventory_id)
-- link: rental(customer_id) -> customer(customer_id)
-- link: rental(staff_id) -> staff(staff_id)
-- link: payment(customer_id) -> customer(customer_id)
-- link: payment(staff_id) -> staff(staff_id)
-- link: payment(rental_id) -> rental(rental_id)
-- time: rental(rental_date)
-- time: payment(payment_date)
CREATE TABLE actor AS SELECT i::SMALLINT AS actor_id, 'FIRST ' || pick(i, 90) AS first_name, TIMESTAMP '2006-02-15 04:34:33' AS last_update FROM range(1, 201) r(i);
CREATE TABLE language AS SELECT i::UTINYINT AS language_id, 'Language ' || i AS name, TIMESTAMP '2006-02-15 05:02:19' AS last_update FROM range(1, 7) r(i);
CREATE TABLE film AS SELECT i::USMALLINT AS film_id, 'FILM TITLE ' || i AS title, 2006 AS release_year, 1::UTINYINT AS language_id, NULL::UTINYINT AS original_language_id,
    (3 + pick(i, 5))::UTINYINT AS rental_duration, pick(i || 'r', 3) + 0.99 AS rental_rate, 46 + pick(i || 'l', 140) AS length,
    TIMESTAMP '2006-02-15 05:03:42' AS last_update FROM range(1, 1001) r(i);
CREATE TABLE film_actor AS SELECT DISTINCT (1 + pick(i, 200))::SMALLINT AS actor_id, (1 + pick(i || 'f', 997))::SMALLINT AS film_id,
    TIMESTAMP '2006-02-15 05:05:03' AS last_update FROM range(5500) r(i);
CREATE TABLE category AS SELECT i::UTINYINT AS category_id, 'Category ' || i AS name, TIMESTAMP '2006-02-15 04:46:27' AS last_update FROM range(1, 17) r(i);
CREATE TABLE film_category AS SELECT i::USMALLINT AS film_id, (1 + pick(i, 16))::UTINYINT AS category_id, TIMESTAMP '2006-02-15 05:07:09' AS last_update
    FROM range(1, 1001) r(i);
CREATE TABLE country AS SELECT i::USMALLINT AS country_id, 'Country ' || i AS country, TIMESTAMP '2006-02-15 04:44:00' AS last_update FROM range(1, 110) r(i);
CREATE TABLE city AS SELECT i::USMALLINT AS city_id, 'City ' || i AS city, (1 + pick(i, 109))::USMALLINT AS country_id, TIMESTAMP '2006-02-15 04:45:25' AS last_update
    FROM range(1, 601) r(i);
CREATE TABLE address AS SELECT i::USMALLINT AS address_id, i || ' Some Street' AS address, 'District ' || pick(i, 300) AS district, (1 + pick(i || 'c', 600))::USMALLINT AS city_id,
    (10000 + i * 17)::VARCHAR AS postal_code, TIMESTAMP '2006-02-15 04:45:30' AS last_update FROM range(1, 604) r(i);
CREATE TABLE store AS SELECT i::UTINYINT AS store_id, i::UTINYINT AS manager_staff_id, i::USMALLINT AS address_id, TIMESTAMP '2006-02-15 04:57:12' AS last_update FROM range(1, 3) r(i);
CREATE TABLE staff AS SELECT i::UTINYINT AS staff_id, ['Mike', 'Jon'][i] AS first_name, (i + 2)::USMALLINT AS address_id, i::UTINYINT AS store_id, 1 AS active,
    TIMESTAMP '2006-02-15 03:57:16' AS last_update FROM range(1, 3) r(i);
CREATE TABLE customer AS SELECT i::USMALLINT AS customer_id, (1 + pick(i, 2))::UTINYINT AS store_id, 'FIRST ' || i AS first_name, (i + 4)::USMALLINT AS address_id,
    pick(i || 'a', 2) AS active, TIMESTAMP '2006-02-14 22:04:36' AS create_date, TIMESTAMP '2006-02-15 04:57:20' AS last_update FROM range(1, 600) r(i);
CREATE TABLE inventory AS SELECT i AS inventory_id, (1 + pick(i, 1000))::USMALLINT AS film_id, (1 + pick(i || 's', 2))::UTINYINT AS store_id,
    TIMESTAMP '2006-02-15 05:09:17' AS last_update FROM range(1, 4582) r(i);
CREATE TABLE rental AS SELECT i AS rental_id, TIMESTAMP '2005-05-24 22:53:30' + INTERVAL (i * 7) MINUTE AS rental_date, 1 + pick(i, 4581) AS inventory_id,
    (1 + pick(i || 'c', 599))::USMALLINT AS customer_id, TIMESTAMP '2005-05-27 22:53:30' + INTERVAL (i * 7 + pick(i, 3000)) MINUTE AS return_date,
    (1 + pick(i || 's', 2))::UTINYINT AS staff_id, TIMESTAMP '2006-02-15 21:30:53' AS last_update FROM range(1, 8001) r(i);
CREATE TABLE payment AS SELECT i::USMALLINT AS payment_id, (1 + pick(i || 'c', 599))::USMALLINT AS customer_id, (1 + pick(i || 'q', 2))::UTINYINT AS staff_id, i AS rental_id,
    pick(i || 'a', 6) + 0.99 AS amount, TIMESTAMP '2005-05-24 22:53:30' + INTERVAL (i * 7) MINUTE AS payment_date, TIMESTAMP '2006-02-15 22:12:30' AS last_update
    FROM range(1, 8001) r(i);
