WITH b0 AS (SELECT COUNT(1) AS m0
  FROM (SELECT r1.* FROM "orders" AS r1 WHERE ((EXISTS (SELECT 1 FROM "customers" AS x2 WHERE r1."customer_id" = x2."id" AND ((1=0)))))) AS t3)
SELECT * FROM (SELECT COALESCE(m0, 0) AS c0 FROM b0) AS o
LIMIT 101
-- []interface {}(nil)

SELECT strftime('%Y-%m-%dT%H:%M:%SZ', MAX(unixepoch(f."placed_at")), 'unixepoch') FROM (SELECT r1.* FROM "orders" AS r1 WHERE ((EXISTS (SELECT 1 FROM "customers" AS x2 WHERE r1."customer_id" = x2."id" AND ((1=0)))))) AS f WHERE unixepoch(f."placed_at") <= unixepoch()
-- []interface {}(nil)

