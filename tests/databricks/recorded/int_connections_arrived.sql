-- the first build

create or replace view `main_test`.`silver`.`int_connections_arrived`
  as (
    select server_id, session_id, device_id, event_id, event_type, event_at, asked_bps, received_bps, bytes
from `main_test`.`silver`.`stg_telecom__connections`
where _load_id > 0 and reject_reason is null
  );

-- a later build

create or replace view `main_test`.`silver`.`int_connections_arrived`
  as (
    select server_id, session_id, device_id, event_id, event_type, event_at, asked_bps, received_bps, bytes
from `main_test`.`silver`.`stg_telecom__connections`
where _load_id > 1 and reject_reason is null
  );
