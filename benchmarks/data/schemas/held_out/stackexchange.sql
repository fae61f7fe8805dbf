-- Questions and answers: every table has an Id from 1 to n, roles are in the names, votes have no user.
-- key: Users(Id)
-- key: Posts(Id)
-- key: Comments(Id)
-- key: Votes(Id)
-- key: Badges(Id)
-- key: PostLinks(Id)
-- link: Posts(OwnerUserId) -> Users(Id)
-- link: Posts(LastEditorUserId) -> Users(Id)
-- link: Posts(ParentId) -> Posts(Id)
-- link: Posts(AcceptedAnswerId) -> Posts(Id)
-- link: Comments(PostId) -> Posts(Id)
-- link: Comments(UserId) -> Users(Id)
-- link: Votes(PostId) -> Posts(Id)
-- link: Badges(UserId) -> Users(Id)
-- link: PostLinks(PostId) -> Posts(Id)
-- link: PostLinks(RelatedPostId) -> Posts(Id)
-- time: Users(CreationDate)
-- time: Posts(CreationDate)
-- time: Comments(CreationDate)
-- time: Votes(CreationDate)
-- time: Badges(Date)
-- time: PostLinks(CreationDate)
CREATE TABLE Users AS SELECT i AS Id, pick(i, 5000) AS Reputation, TIMESTAMP '2010-01-01' + INTERVAL (i) HOUR AS CreationDate, 'user' || i AS DisplayName, pick(i || 'v', 300) AS Views,
    pick(i || 'u', 60) AS UpVotes FROM range(1, 1001) r(i);
CREATE TABLE Posts AS SELECT i AS Id, 1 + (i % 3 > 0)::INTEGER AS PostTypeId, CASE WHEN i % 3 > 0 AND i > 9 THEN 3 * (1 + pick(i, i // 3)) - 3 * (pick(i, i // 3) = i // 3)::INTEGER END::DOUBLE AS ParentId,
    CASE WHEN i % 3 = 0 AND pick(i, 2) = 0 THEN i + 1 END::DOUBLE AS AcceptedAnswerId, TIMESTAMP '2010-03-01' + INTERVAL (i) HOUR AS CreationDate, pick(i, 40) AS Score, pick(i || 'v', 900) AS ViewCount,
    CASE WHEN i % 60 > 0 THEN 1 + pick(i || 'o', 1000) END::DOUBLE AS OwnerUserId, CASE WHEN i % 4 = 0 THEN 1 + pick(i || 'e', 1000) END::DOUBLE AS LastEditorUserId, pick(i || 'a', 7) AS AnswerCount
    FROM range(1, 3002) r(i);
CREATE TABLE Comments AS SELECT i AS Id, 1 + pick(i, 3001) AS PostId, pick(i || 's', 9) AS Score, 'text ' || i AS Text, TIMESTAMP '2010-07-10' + INTERVAL (i) HOUR AS CreationDate, 1 + pick(i || 'u', 1000) AS UserId
    FROM range(1, 4001) r(i);
CREATE TABLE Votes AS SELECT i AS Id, 1 + pick(i, 3001) AS PostId, 1 + pick(i || 't', 12) AS VoteTypeId, TIMESTAMP '2010-07-10' + INTERVAL (i) HOUR AS CreationDate FROM range(1, 8001) r(i);
CREATE TABLE Badges AS SELECT i AS Id, 1 + pick(i, 1000) AS UserId, 'Badge ' || pick(i || 'n', 40) AS Name, TIMESTAMP '2010-03-01' + INTERVAL (i) HOUR AS Date, 1 + pick(i || 'c', 3) AS Class FROM range(1, 2501) r(i);
CREATE TABLE PostLinks AS SELECT i AS Id, TIMESTAMP '2010-08-01' + INTERVAL (i) HOUR AS CreationDate, 1 + pick(i, 3001) AS PostId, 1 + pick(i || 'r', 3001) AS RelatedPostId, [1, 3][1 + pick(i, 2)] AS LinkTypeId
    FROM range(1, 601) r(i);
