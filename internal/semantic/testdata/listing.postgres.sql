SELECT * FROM (SELECT t2."id" AS c0, CAST(t4."city" AS text) AS c1
  FROM "orders" AS t2
  LEFT JOIN "addresses" AS t4 ON t2."shipping_id" = t4."id"
  LEFT JOIN "addresses" AS t6 ON t2."billing_id" = t6."id"
  WHERE t2."amount" >= CAST(CAST($1 AS text) AS numeric) AND CAST(t6."city" AS text) ILIKE CAST($2 AS text) ESCAPE '\') AS o
ORDER BY (c0 IS NULL), c0 ASC, (c1 IS NULL), c1 COLLATE "C" ASC
LIMIT 101
-- []interface {}{"12.50", "%50\\%\\_%"}

SELECT to_char(CAST(MAX(f."placed_at") AS timestamptz), 'YYYY-MM-DD"T"HH24:MI:SS"Z"') FROM "orders" AS f WHERE f."placed_at" <= now()
-- []interface {}(nil)

