SELECT * FROM (SELECT t2."id" AS c0, CAST(t4."city" AS text) AS c1
  FROM "orders" AS t2
  LEFT JOIN "addresses" AS t4 ON t2."shipping_id" = t4."id"
  LEFT JOIN "addresses" AS t6 ON t2."billing_id" = t6."id"
  WHERE t2."amount" >= ?1 AND stead_contains(CAST(t6."city" AS TEXT), ?2)) AS o
ORDER BY (c0 IS NULL), c0 ASC, (c1 IS NULL), c1 ASC
LIMIT 101
-- []interface {}{12.5, "50%_"}

SELECT strftime('%Y-%m-%dT%H:%M:%SZ', MAX(unixepoch(f."placed_at")), 'unixepoch') FROM "orders" AS f WHERE unixepoch(f."placed_at") <= unixepoch()
-- []interface {}(nil)

