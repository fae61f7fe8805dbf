-- A music shop as pandas wrote it: columns with NULLs are floats; SupportRepId is an employee.
-- key: Artist(ArtistId)
-- key: Album(AlbumId)
-- key: Genre(GenreId)
-- key: MediaType(MediaTypeId)
-- key: Track(TrackId)
-- key: Employee(EmployeeId)
-- key: Customer(CustomerId)
-- key: Invoice(InvoiceId)
-- key: InvoiceLine(InvoiceLineId)
-- key: Playlist(PlaylistId)
-- key: PlaylistTrack(PlaylistId, TrackId)
-- link: Album(ArtistId) -> Artist(ArtistId)
-- link: Track(AlbumId) -> Album(AlbumId)
-- link: Track(GenreId) -> Genre(GenreId)
-- link: Track(MediaTypeId) -> MediaType(MediaTypeId)
-- link: Employee(ReportsTo) -> Employee(EmployeeId)
-- link: Customer(SupportRepId) -> Employee(EmployeeId)
-- link: Invoice(CustomerId) -> Customer(CustomerId)
-- link: InvoiceLine(InvoiceId) -> Invoice(InvoiceId)
-- link: InvoiceLine(TrackId) -> Track(TrackId)
-- link: PlaylistTrack(PlaylistId) -> Playlist(PlaylistId)
-- link: PlaylistTrack(TrackId) -> Track(TrackId)
-- time: Invoice(InvoiceDate)
-- time: InvoiceLine(Invoice.InvoiceDate)
CREATE TABLE Artist AS SELECT i AS ArtistId, 'Artist ' || i AS Name FROM range(1, 101) r(i);
CREATE TABLE Album AS SELECT i AS AlbumId, 'Album ' || i AS Title, 1 + pick(i, 100) AS ArtistId FROM range(1, 201) r(i);
CREATE TABLE Genre AS SELECT i AS GenreId, 'Genre ' || i AS Name FROM range(1, 26) r(i);
CREATE TABLE MediaType AS SELECT i AS MediaTypeId, 'Type ' || i AS Name FROM range(1, 6) r(i);
CREATE TABLE Track AS SELECT i AS TrackId, 'Track ' || i AS Name, CASE WHEN i % 50 > 0 THEN 1.0::DOUBLE + pick(i, 200) END AS AlbumId,
    1 + pick(i, 3) AS MediaTypeId, CASE WHEN i % 41 > 0 THEN 1.0::DOUBLE + pick(i || 'g', 25) END AS GenreId,
    100000 + pick(i || 'm', 300000) AS Milliseconds, CASE WHEN i % 9 > 0 THEN 1000.0::DOUBLE * pick(i, 900) END AS Bytes, 0.99 AS UnitPrice
    FROM range(1, 1501) r(i);
CREATE TABLE Employee AS SELECT i AS EmployeeId, 'Last ' || i AS LastName, [NULL, 1.0, 2.0, 2.0, 2.0, 1.0, 6.0, 6.0][i]::DOUBLE AS ReportsTo,
    DATE '1960-01-01' + pick(i, 5000) AS BirthDate, DATE '2002-01-01' + (i * 100)::INTEGER AS HireDate FROM range(1, 9) r(i);
CREATE TABLE Customer AS SELECT i AS CustomerId, 'First ' || i AS FirstName, ['Brazil', 'Germany', 'USA'][1 + pick(i, 3)] AS Country,
    3.0::DOUBLE + pick(i, 3) AS SupportRepId FROM range(1, 60) r(i);
CREATE TABLE Invoice AS SELECT i AS InvoiceId, 1 + pick(i, 59) AS CustomerId, TIMESTAMP '2009-01-01' + INTERVAL (i * 4) DAY AS InvoiceDate,
    pick(i || 't', 2000) / 100 AS Total FROM range(1, 413) r(i);
CREATE TABLE InvoiceLine AS SELECT i AS InvoiceLineId, 1 + (i // 5) % 412 AS InvoiceId, 1 + pick(i, 1500) AS TrackId, 0.99 AS UnitPrice,
    1 AS Quantity FROM range(1, 2061) r(i);
CREATE TABLE Playlist AS SELECT i AS PlaylistId, 'Playlist ' || i AS Name FROM range(1, 19) r(i);
CREATE TABLE PlaylistTrack AS SELECT DISTINCT 1 + pick(i, 18) AS PlaylistId, 1 + pick(i || 't', 1500) AS TrackId FROM range(4000) r(i);
