{#-
  The text of each view of a schema by the view's name. Spark tells it in words among others, and of tables too; on
  Databricks the catalog has a table of them. It stays.
-#}
{% macro texts_of_views(schema) %}
    {{ return(adapter.dispatch('texts_of_views', 'lakehouse')(schema)) }}
{% endmacro %}

{% macro spark__texts_of_views(schema) %}
    {% set texts = {} %}
    {% for row in run_query('show table extended in ' ~ schema ~ " like '*'").rows if 'View Text: ' in row[3] %}
        {% do texts.update({row[1]: modules.re.findall('View Text: (.*)', row[3]) | first}) %}
    {% endfor %}
    {{ return(texts) }}
{% endmacro %}

{% macro databricks__texts_of_views(schema) %}
    {% set texts = {} %}
    {% set views = relation_of('information_schema', 'views') %}
    {% set asked = 'select table_name, view_definition from ' ~ views ~ " where table_schema = '" ~ schema ~ "'" %}
    {% for name, text in run_query(asked).rows %}
        {% do texts.update({name: text or ''}) %}
    {% endfor %}
    {{ return(texts) }}
{% endmacro %}
