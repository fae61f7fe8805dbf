-- Sakila: a shop that rents films. Rentals come in bursts with weeks of nothing between them, and those of one last day
-- follow half a year later. Every table has the same last_update in all rows. Stores and staff point at each other.
--
-- key: actor(actor_id)
-- key: address(address_id)
-- key: category(category_id)
-- key: city(city_id)
-- key: country(country_id)
-- key: customer(customer_id)
-- key: film(film_id)
-- key: inventory(inventory_id)
-- key: language(language_id)
-- key: payment(payment_id)
-- key: rental(rental_id)
-- key: staff(staff_id)
-- key: store(store_id)
-- key: film_actor(actor_id, film_id)
-- key: film_category(film_id, category_id) or film_category(film_id)
-- link: address(city_id) -> city(city_id)
-- link: city(country_id) -> country(country_id)
-- link: customer(store_id) -> store(store_id)
-- link: customer(address_id) -> address(address_id)
-- link: film(language_id) -> language(language_id)
-- link: film_actor(actor_id) -> actor(actor_id)
-- link: film_actor(film_id) -> film(film_id)
-- link: film_category(film_id) -> film(film_id)
-- link: film_category(category_id) -> category(category_id)
-- link: inventory(film_id) -> film(film_id)
-- link: inventory(store_id) -> store(store_id)
-- link: payment(customer_id) -> customer(customer_id)
-- link: payment(staff_id) -> staff(staff_id)
-- link: payment(rental_id) -> rental(rental_id)
-- link: rental(inventory_id) -> inventory(inventory_id)
-- link: rental(customer_id) -> customer(customer_id)
-- link: rental(staff_id) -> staff(staff_id)
-- link: staff(address_id) -> address(address_id)
-- link: staff(store_id) -> store(store_id)
-- link: store(address_id) -> address(address_id)
-- link: store(manager_staff_id) -> staff(staff_id)
-- time: rental(rental_date)
-- time: payment(payment_date)

CREATE MACRO updated() AS TIMESTAMP '2006-02-15 04:34:33';
CREATE TABLE country AS
SELECT i + 1 AS country_id, word(i, 'country') || 'land' AS country, updated() AS last_update FROM range(30) r(i);
CREATE TABLE city AS
SELECT i + 1 AS city_id, word(i, 'city') || 'ton' AS city, 1 + below(30, i, 'in') AS country_id,
    updated() AS last_update
FROM range(100) r(i);
CREATE TABLE address AS
SELECT i + 1 AS address_id, i * 13 || ' ' || word(i, 'street') || ' Road' AS address, NULL::VARCHAR AS address2,
    word(i, 'district') AS district, 1 + below(100, i, 'city') AS city_id, (10000 + 31 * i)::VARCHAR AS postal_code,
    (140000000 + 7919 * i)::VARCHAR AS phone, updated() AS last_update
FROM range(90) r(i);
CREATE TABLE language AS
SELECT i + 1 AS language_id, ['English', 'Italian', 'Japanese', 'Mandarin', 'French', 'German'][i + 1] AS name,
    updated() AS last_update
FROM range(6) r(i);
CREATE TABLE category AS SELECT i + 1 AS category_id, word(i, 'kind') AS name,
    updated() AS last_update FROM range(16) r(i);
CREATE TABLE actor AS
SELECT i + 1 AS actor_id, upper(name(i, 'first')) AS first_name, upper(name(i, 'last')) AS last_name,
    updated() AS last_update
FROM range(60) r(i);
CREATE TABLE film AS
SELECT i + 1 AS film_id, upper(word(i, 'title') || ' ' || word(i, 'name')) AS title,
    'A tale of ' || word(i, 'who') || ' and ' || word(i, 'whom') AS description, 2006 AS release_year, 1 AS language_id,
    NULL::INTEGER AS original_language_id, 3 + below(5, i, 'days') AS rental_duration,
    [0.99, 2.99, 4.99][1 + i % 3]::DECIMAL(4, 2) AS rental_rate, 46 + below(140, i, 'length') AS length,
    (9.99 + below(20, i, 'cost'))::DECIMAL(5, 2) AS replacement_cost,
    ['G', 'PG', 'PG-13', 'R', 'NC-17'][1 + i % 5] AS rating,
    updated() AS last_update, ['Trailers', 'Deleted Scenes'][1:1 + i % 2] AS special_features
FROM range(120) r(i);
CREATE TABLE film_actor AS
SELECT actor_id, film_id, updated() AS last_update FROM actor, film WHERE draw(actor_id, 'plays', film_id) < 0.06;
CREATE TABLE film_category AS
SELECT film_id, 1 + below(16, film_id, 'category') AS category_id, updated() AS last_update FROM film;
CREATE TABLE store AS
SELECT i AS store_id, i AS manager_staff_id, i AS address_id, updated() AS last_update FROM range(1, 3) r(i);
CREATE TABLE staff AS
SELECT i AS staff_id, name(i, 'staff') AS first_name, name(i, 'works') AS last_name, 2 + i AS address_id,
    'staff' || i || '@example.com' AS email, i AS store_id, true AS active, name(i, 'staff') AS username,
    md5(i::VARCHAR) AS password, updated() AS last_update, NULL::BLOB AS picture
FROM range(1, 3) r(i);
CREATE TABLE customer AS
SELECT i + 1 AS customer_id, 1 + i % 2 AS store_id, upper(name(i, 'customer')) AS first_name,
    upper(name(i, 'family')) AS last_name,
    'customer' || i || '@example.com' AS email, 5 + i AS address_id, true AS activebool,
    DATE '2006-02-14' AS create_date,
    updated() AS last_update, (i % 40 > 0)::INTEGER AS active
FROM range(80) r(i);
CREATE TABLE inventory AS
SELECT i + 1 AS inventory_id, 1 + i // 3 AS film_id, 1 + below(2, i, 'store') AS store_id, updated() AS last_update
FROM range(360) r(i);
CREATE TABLE rental AS
SELECT row_number() OVER (ORDER BY rental_date, customer_id) AS rental_id, rental_date,
    1 + below(360, customer_id, 'copy', rental_date) AS inventory_id, customer_id,
    CASE WHEN rental_date < '2006-01-01' THEN rental_date + to_hours(20 + below(180, customer_id, 'back',
    rental_date)) END
        AS return_date,
    1 + below(2, customer_id, 'served', rental_date) AS staff_id, TIMESTAMP '2006-02-15 21:30:53' AS last_update
FROM (
    SELECT customer_id, TIMESTAMP '2005-05-24 22:53:30' + to_days(day::INTEGER) + to_minutes(7 * customer_id)
    AS rental_date,
        CASE WHEN day = 265 THEN 0.3 ELSE 0.15 + 0.2 * draw(customer_id, 'often') END AS chance, day
    FROM customer, range(0, 266) d(day)
    WHERE day BETWEEN 0 AND 7 OR day BETWEEN 21 AND 28 OR day BETWEEN 42 AND 49 OR day BETWEEN 63 AND 70
        OR day BETWEEN 84 AND 91 OR day = 265
) WHERE draw(customer_id, 'rents', day) < chance;
CREATE TABLE payment AS
SELECT row_number() OVER (ORDER BY customer_id, rental_date) AS payment_id, customer_id, staff_id, rental_id,
    [0.99, 2.99, 4.99][1 + below(3, rental_id, 'paid')]::DECIMAL(5, 2) AS amount, rental_date AS payment_date
FROM rental;

CREATE VIEW customer_list AS
SELECT cu.customer_id AS id, cu.first_name || ' ' || cu.last_name AS name, a.address, a.postal_code AS "zip code",
    a.phone,
    city.city, country.country, CASE WHEN cu.activebool THEN 'active' ELSE '' END AS notes, cu.store_id AS sid
FROM customer cu JOIN address a USING (address_id) JOIN city USING (city_id) JOIN country USING (country_id);
CREATE VIEW film_list AS
SELECT film.film_id AS fid, film.title, film.description, category.name AS category, film.rental_rate AS price,
    film.length,
    film.rating, string_agg(actor.first_name || ' ' || actor.last_name, ', ') AS actors
FROM category JOIN film_category USING (category_id) JOIN film USING (film_id) JOIN film_actor USING (film_id)
JOIN actor USING (actor_id) GROUP BY ALL;
CREATE VIEW sales_by_film_category AS
SELECT c.name AS category, sum(p.amount) AS total_sales
FROM payment p JOIN rental USING (rental_id) JOIN inventory i USING (inventory_id) JOIN film_category fc USING (film_id)
JOIN category c USING (category_id) GROUP BY c.name;
DROP MACRO updated;
