-- the first build

create  table `main_test`.`silver`.`age_bands` (`age_band` string ,`from_years` bigint ,`to_years` bigint )
    using delta;

insert overwrite `main_test`.`silver`.`age_bands` values
          (%s,%s,%s),(%s,%s,%s),(%s,%s,%s),(%s,%s,%s),(%s,%s,%s),(%s,%s,%s),(%s,%s,%s),(%s,%s,%s),(%s,%s,%s),(%s,%s,%s);

-- a later build
