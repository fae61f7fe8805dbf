-- Removes what happens after as_of.
DELETE FROM raw_payments WHERE order_id IN (SELECT id FROM raw_orders WHERE order_date > getvariable('as_of'));
DELETE FROM raw_orders WHERE order_date > getvariable('as_of');
