-- The role that the lakehouse pulls the shop's tables with: it reads them and can do nothing else. Run it once in
-- their database, when they are there, as one who may create roles and grant on them; where the role is there already,
-- the grants alone. Then give it a password, in psql with \password lakehouse_reader.
create role lakehouse_reader login nosuperuser nocreatedb nocreaterole noreplication;
alter role lakehouse_reader set default_transaction_read_only = on;
grant usage on schema shop to lakehouse_reader;
grant select on shop.customers, shop.products, shop.orders, shop.order_items, shop.refunds, shop.stock_levels,
shop.stock_movements to lakehouse_reader;
