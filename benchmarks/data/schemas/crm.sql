-- A service for sales: ids of eighteen letters, owners are users, and things that may belong to different tables.
-- key: User(Id)
-- key: Account(Id)
-- key: Contact(Id)
-- key: Opportunity(Id)
-- key: Task(Id)
-- link: Account(OwnerId) -> User(Id)
-- link: Account(ParentId) -> Account(Id)
-- link: Contact(AccountId) -> Account(Id)
-- link: Opportunity(AccountId) -> Account(Id)
-- link: Opportunity(OwnerId) -> User(Id)
-- link: Task(WhoId) -> Contact(Id)
-- also: Task(WhatId) -> Opportunity(Id)
-- time: Account(CreatedDate)
-- time: Opportunity(CreatedDate)
-- time: Task(ActivityDate)
CREATE TABLE "User" AS SELECT '005' || substr(md5('u' || i), 1, 15) AS Id, 'User ' || i AS Name, pick(i, 2) = 0 AS IsActive FROM range(40) r(i);
CREATE TABLE Account AS SELECT '001' || substr(md5('a' || i), 1, 15) AS Id, 'Company No ' || i AS Name, CASE WHEN i > 50 AND i % 3 = 0 THEN '001' || substr(md5('a' || pick(i, 50)), 1, 15) END AS ParentId,
    '005' || substr(md5('u' || pick(i, 40)), 1, 15) AS OwnerId, TIMESTAMP '2019-01-01' + INTERVAL (i * 20) HOUR AS CreatedDate, pick(i || 'e', 5000) AS NumberOfEmployees FROM range(600) r(i);
CREATE TABLE Contact AS SELECT '003' || substr(md5('c' || i), 1, 15) AS Id, '001' || substr(md5('a' || pick(i, 600)), 1, 15) AS AccountId, 'First ' || i AS FirstName, 'person' || i || '@example.org' AS Email FROM range(1500) r(i);
CREATE TABLE Opportunity AS SELECT '006' || substr(md5('o' || i), 1, 15) AS Id, '001' || substr(md5('a' || pick(i, 600)), 1, 15) AS AccountId, '005' || substr(md5('u' || pick(i || 'w', 40)), 1, 15) AS OwnerId,
    TIMESTAMP '2020-06-01' + INTERVAL (i * 6) HOUR AS CreatedDate, DATE '2020-09-01' + (i // 4)::INTEGER AS CloseDate, ['Won', 'Lost', 'Open'][1 + pick(i || 's', 3)] AS StageName, pick(i || 'a', 90000) AS Amount FROM range(1200) r(i);
CREATE TABLE Task AS SELECT '00T' || substr(md5('t' || i), 1, 15) AS Id, '003' || substr(md5('c' || pick(i, 1500)), 1, 15) AS WhoId, '006' || substr(md5('o' || pick(i || 'o', 1200)), 1, 15) AS WhatId,
    DATE '2020-07-01' + (i // 8)::INTEGER AS ActivityDate, ['Call', 'Email'][1 + pick(i || 's', 2)] AS Subject FROM range(3000) r(i);
