-- One key of people under one name in three tables, roles before addresses, a link of two columns, parts of parts.
-- key: Person(BusinessEntityID)
-- key: Employee(BusinessEntityID)
-- key: SalesPerson(BusinessEntityID)
-- key: SalesTerritory(TerritoryID)
-- key: Customer(CustomerID)
-- key: Address(AddressID)
-- key: Product(ProductID)
-- key: SpecialOffer(SpecialOfferID)
-- key: SpecialOfferProduct(SpecialOfferID, ProductID)
-- key: SalesOrderHeader(SalesOrderID)
-- key: SalesOrderDetail(SalesOrderDetailID) or SalesOrderDetail(SalesOrderID, SalesOrderDetailID)
-- link: Employee(BusinessEntityID) -> Person(BusinessEntityID)
-- link: SalesPerson(BusinessEntityID) -> Employee(BusinessEntityID) or SalesPerson(BusinessEntityID) -> Person(BusinessEntityID)
-- link: SalesPerson(TerritoryID) -> SalesTerritory(TerritoryID)
-- link: Customer(PersonID) -> Person(BusinessEntityID)
-- link: Customer(TerritoryID) -> SalesTerritory(TerritoryID)
-- link: SpecialOfferProduct(SpecialOfferID) -> SpecialOffer(SpecialOfferID)
-- link: SpecialOfferProduct(ProductID) -> Product(ProductID)
-- link: SalesOrderHeader(CustomerID) -> Customer(CustomerID)
-- link: SalesOrderHeader(SalesPersonID) -> SalesPerson(BusinessEntityID)
-- link: SalesOrderHeader(TerritoryID) -> SalesTerritory(TerritoryID)
-- link: SalesOrderHeader(BillToAddressID) -> Address(AddressID)
-- link: SalesOrderHeader(ShipToAddressID) -> Address(AddressID)
-- link: SalesOrderDetail(SalesOrderID) -> SalesOrderHeader(SalesOrderID)
-- link: SalesOrderDetail(SpecialOfferID, ProductID) -> SpecialOfferProduct(SpecialOfferID, ProductID)
-- also: SalesOrderDetail(ProductID) -> Product(ProductID)
-- also: SalesOrderDetail(SpecialOfferID) -> SpecialOffer(SpecialOfferID)
-- also: Employee(HireDate)
-- time: SalesOrderHeader(OrderDate)
-- time: SalesOrderDetail(SalesOrderHeader.OrderDate)
CREATE TABLE Person AS SELECT i AS BusinessEntityID, ['EM', 'IN'][1 + pick(i, 2)] AS PersonType, 'First' || pick(i, 300) AS FirstName FROM range(1, 1501) r(i);
CREATE TABLE Employee AS SELECT i AS BusinessEntityID, (100000 + i * 7919)::VARCHAR AS NationalIDNumber, 'Job ' || pick(i, 30) AS JobTitle, pick(i || 'v', 99) AS VacationHours,
    DATE '2008-01-01' + (i * 5)::INTEGER AS HireDate FROM range(1, 291) r(i);
CREATE TABLE SalesTerritory AS SELECT i AS TerritoryID, 'Territory ' || i AS Name FROM range(1, 11) r(i);
CREATE TABLE SalesPerson AS SELECT 273 + i AS BusinessEntityID, CASE WHEN i > 1 THEN 1.0::DOUBLE + pick(i, 10) END AS TerritoryID, 1000 * pick(i, 6) AS Bonus FROM range(1, 18) r(i);
CREATE TABLE Customer AS SELECT i AS CustomerID, CASE WHEN i % 9 > 0 THEN 300.0::DOUBLE + pick(i, 1200) END AS PersonID, 1 + pick(i || 't', 10) AS TerritoryID, 'AW' || lpad(i::VARCHAR, 8, '0') AS AccountNumber
    FROM range(1, 1901) r(i);
CREATE TABLE Address AS SELECT i AS AddressID, i || ' Road' AS AddressLine1, 'City ' || pick(i, 90) AS City FROM range(1, 1201) r(i);
CREATE TABLE Product AS SELECT i AS ProductID, 'Product ' || i AS Name, 'PN-' || (1000 + i) AS ProductNumber, pick(i || 's', 1000) AS SafetyStockLevel, pick(i || 'p', 375) AS ReorderPoint FROM range(1, 505) r(i);
CREATE TABLE SpecialOffer AS SELECT i AS SpecialOfferID, 'Offer ' || i AS Description, pick(i, 50) AS MinQty FROM range(1, 17) r(i);
CREATE TABLE SpecialOfferProduct AS SELECT o AS SpecialOfferID, p AS ProductID FROM range(1, 17) a(o), range(1, 505) b(p) WHERE o = 1 OR pick(o || 'p' || p, 12) = 0;
CREATE TABLE SalesOrderHeader AS SELECT 43658 + i AS SalesOrderID, 1 + pick(i, 1900) AS CustomerID, CASE WHEN i % 3 = 0 THEN 274.0::DOUBLE + pick(i, 17) END AS SalesPersonID, 1 + pick(i || 't', 10) AS TerritoryID,
    1 + pick(i || 'b', 1200) AS BillToAddressID, 1 + pick(i || 's', 1200) AS ShipToAddressID, TIMESTAMP '2011-05-31' + INTERVAL (i * 5) HOUR AS OrderDate, TIMESTAMP '2011-06-12' + INTERVAL (i * 5) HOUR AS DueDate,
    5 AS Status, pick(i || 'x', 9000) / 7 AS Freight FROM range(1, 4001) r(i);
CREATE TABLE SalesOrderDetail AS SELECT 43659 + i // 3 AS SalesOrderID, i + 1 AS SalesOrderDetailID, 1 + pick(i || 'q', 20) AS OrderQty, p.ProductID, p.SpecialOfferID
    FROM range(12000) r(i) JOIN (SELECT row_number() OVER (ORDER BY ProductID, SpecialOfferID) AS n, * FROM SpecialOfferProduct) p ON p.n = 1 + pick(i, 700);
