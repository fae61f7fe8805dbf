-- Removes what happens after as_of.
DELETE FROM order_details WHERE order_id IN (SELECT order_id FROM orders WHERE order_date::DATE > getvariable('as_of'));
DELETE FROM orders WHERE order_date::DATE > getvariable('as_of');
