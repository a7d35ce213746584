-- The role that the lakehouse pulls with: it reads these tables and can do nothing else. Run it once in their
-- database, as one who may create roles and grant on them; then give the role a password, in psql with
-- \password lakehouse_reader.
create role lakehouse_reader login nosuperuser nocreatedb nocreaterole noreplication;
alter role lakehouse_reader set default_transaction_read_only = on;
grant usage on schema public to lakehouse_reader;
grant select on public.registrations, public.gym_visits to lakehouse_reader;
