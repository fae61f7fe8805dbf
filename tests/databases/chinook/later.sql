-- Removes what happens after as_of.
DELETE FROM "InvoiceLine"
WHERE "InvoiceId" IN (SELECT "InvoiceId" FROM "Invoice" WHERE "InvoiceDate" > getvariable('as_of'));
DELETE FROM "Invoice" WHERE "InvoiceDate" > getvariable('as_of');
