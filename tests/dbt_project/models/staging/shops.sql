select * from {{ source('raw', 'shops') }}
