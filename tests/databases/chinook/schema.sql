-- Chinook: a shop for music. Names and types are those of the SQLite file, whose constraints are lost on import.
--
-- key: Artist(ArtistId)
-- key: Album(AlbumId)
-- key: MediaType(MediaTypeId)
-- key: Genre(GenreId)
-- key: Track(TrackId)
-- key: Playlist(PlaylistId)
-- key: PlaylistTrack(PlaylistId, TrackId)
-- key: Employee(EmployeeId)
-- key: Customer(CustomerId)
-- key: Invoice(InvoiceId)
-- key: InvoiceLine(InvoiceLineId)
-- link: Album(ArtistId) -> Artist(ArtistId)
-- link: Track(AlbumId) -> Album(AlbumId)
-- link: Track(MediaTypeId) -> MediaType(MediaTypeId)
-- link: Track(GenreId) -> Genre(GenreId)
-- link: PlaylistTrack(PlaylistId) -> Playlist(PlaylistId)
-- link: PlaylistTrack(TrackId) -> Track(TrackId)
-- link: Employee(ReportsTo) -> Employee(EmployeeId)
-- link: Customer(SupportRepId) -> Employee(EmployeeId)
-- link: Invoice(CustomerId) -> Customer(CustomerId)
-- link: InvoiceLine(InvoiceId) -> Invoice(InvoiceId)
-- link: InvoiceLine(TrackId) -> Track(TrackId)
-- time: Invoice(InvoiceDate)
-- time: InvoiceLine(Invoice.InvoiceDate)
-- also: Employee(HireDate)

CREATE TABLE "Artist" AS SELECT i + 1 AS "ArtistId", 'Band ' || i * 17 % 83 AS "Name" FROM range(40) r(i);
CREATE TABLE "Album" AS
SELECT i + 1 AS "AlbumId", 'Songs of ' || word(i, 'album') AS "Title", 1 + below(40, i, 'artist') AS "ArtistId"
FROM range(60) r(i);
CREATE TABLE "MediaType" AS
SELECT i AS "MediaTypeId", ['MPEG audio file', 'Protected AAC', 'Protected MPEG-4', 'Purchased AAC', 'AAC'][i] AS "Name"
FROM range(1, 6) r(i);
CREATE TABLE "Genre" AS SELECT i + 1 AS "GenreId", word(i, 'genre') || i AS "Name" FROM range(25) r(i);
CREATE TABLE "Track" AS
SELECT i + 1 AS "TrackId", 'The ' || word(i, 'track') || ' of ' || word(i, 'of') AS "Name",
    1 + i // 5 AS "AlbumId", 1 + below(5, i, 'media') * below(2, i, 'common') AS "MediaTypeId",
    1 + below(25, i // 5, 'genre') AS "GenreId",
    CASE WHEN draw(i, 'known') < 0.7 THEN name(i // 3, 'composer') END AS "Composer",
    120000 + below(300000, i, 'length') AS "Milliseconds", 4000000 + below(9000000, i, 'bytes') AS "Bytes",
    CASE WHEN draw(i, 'video') < 0.06 THEN 1.99 ELSE 0.99 END::DECIMAL(10, 2) AS "UnitPrice"
FROM range(300) r(i);
CREATE TABLE "Playlist" AS SELECT i + 1 AS "PlaylistId", ['Music', 'Movies', 'Classical', 'Grunge'][1 + i % 4] AS "Name"
FROM range(18) r(i);
CREATE TABLE "PlaylistTrack" AS
SELECT p."PlaylistId", t."TrackId" FROM "Playlist" p, "Track" t WHERE draw(p."PlaylistId", 'has', t."TrackId") < 0.12;

CREATE TABLE "Employee" AS
SELECT i AS "EmployeeId", name(i, 'last') AS "LastName", name(i, 'first') AS "FirstName",
    ['General Manager', 'Sales Manager', 'Sales Support Agent', 'Sales Support Agent', 'Sales Support Agent',
     'IT Manager', 'IT Staff', 'IT Staff'][i] AS "Title",
    [NULL, 1, 2, 2, 2, 1, 6, 6][i]::DOUBLE AS "ReportsTo",
    TIMESTAMP '1950-01-01' + to_days((i * 1031)::INTEGER) AS "BirthDate",
    TIMESTAMP '2002-04-01' + to_days((i * 137)::INTEGER) AS "HireDate",
    i || ' Hill Street' AS "Address", word(i, 'town') AS "City", 'AB' AS "State", 'Canada' AS "Country",
    'T2P ' || i AS "PostalCode", '+1 (403) 26' || i AS "Phone", '+1 (403) 27' || i AS "Fax",
    lower(name(i, 'first')) || i || '@example.com' AS "Email"
FROM range(1, 9) r(i);
CREATE TABLE "Customer" AS
SELECT i AS "CustomerId", name(i, 'customer') AS "FirstName", name(i, 'family') AS "LastName",
    CASE WHEN i % 6 = 0 THEN word(i, 'firm') || ' Inc.' END AS "Company", i || ' Main Road' AS "Address",
    word(i, 'city') AS "City", CASE WHEN i % 2 = 0 THEN 'S' || i % 9 END AS "State",
    ['USA', 'Canada', 'Brazil', 'France', 'Germany'][1 + i % 5] AS "Country", (10000 + i)::VARCHAR AS "PostalCode",
    '+1 555 0' || 100 + i AS "Phone", NULL::VARCHAR AS "Fax", 'customer' || i || '@example.com' AS "Email",
    3 + i % 3 AS "SupportRepId"
FROM range(1, 60) r(i);

CREATE TABLE "Invoice" AS
SELECT row_number() OVER (ORDER BY day, c."CustomerId") AS "InvoiceId", c."CustomerId",
    TIMESTAMP '2009-01-01' + to_days(day::INTEGER) AS "InvoiceDate", c."Address" AS "BillingAddress",
    c."City" AS "BillingCity", c."State" AS "BillingState", c."Country" AS "BillingCountry",
    c."PostalCode" AS "BillingPostalCode", (0.99 * (1 + below(9, day, 'total')))::DECIMAL(10, 2) AS "Total"
FROM "Customer" c, range(0, 1810, 5) d(day)
WHERE draw(c."CustomerId", 'buys', day) < 0.01 + 0.03 * draw(c."CustomerId", 'taste');
CREATE TABLE "InvoiceLine" AS
SELECT row_number() OVER (ORDER BY i."InvoiceId", n) AS "InvoiceLineId", i."InvoiceId",
    1 + below(300, i."InvoiceId", 'track', n) AS "TrackId", 0.99::DECIMAL(10, 2) AS "UnitPrice", 1 AS "Quantity"
FROM "Invoice" i, range(1, 6) l(n) WHERE n <= 1 + below(5, i."InvoiceId", 'lines');
